"""Every end-to-end test begins with hosts that are empty but for their base images, also after one that failed."""

from tests.stack_fixture import empty_hosts as empty_hosts
