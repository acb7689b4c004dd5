"""Rows of every kind with plausible values, for tests and for `tests.seed`."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import factory
from django.contrib.auth.models import User
from django.utils import timezone
from factory.django import DjangoModelFactory

from machines.models import BaseImage, Container, ContainerState, DiscoveredMachine, Host, Release
from tasks.models import Job, JobEvent, JobState
from teams.models import Membership, Role, Team

PASSWORD = "correct horse battery"
GIB = 1 << 30
CHECKS = [
    {"key": "systemd", "title": "systemd", "result": "ok", "found": "252", "wanted": "249 or newer", "mend": ""},
    {"key": "machined", "title": "machined", "result": "ok", "found": "active", "wanted": "active", "mend": ""},
]


def facts(name: str = "srv1", **changes: Any) -> dict[str, Any]:
    """contract.live.HostFacts as the agent reports them."""
    return {
        "hostname": name,
        "agent_version": "0.1.0",
        "os": "Debian GNU/Linux 12 (bookworm)",
        "kernel": "6.1.0-31-amd64",
        "arch": "x86_64",
        "systemd": "252.39-1~deb12u2",
        "cpus": 8,
        "memory_bytes": 32 * GIB,
        "pool_fs": "btrfs",
        "pool_bytes": 400 * GIB,
        "boot_time": "2026-01-02T03:04:05Z",
        "checks": CHECKS,
    } | changes


class UserFactory(DjangoModelFactory[User]):
    class Meta:
        model = User
        skip_postgeneration_save = True

    username = factory.Sequence(lambda n: f"user{n}")
    password = factory.django.Password(PASSWORD)


class TeamFactory(DjangoModelFactory[Team]):
    class Meta:
        model = Team

    name = factory.Sequence(lambda n: f"Team {n}")
    slug = factory.Sequence(lambda n: f"team-{n}")


class MembershipFactory(DjangoModelFactory[Membership]):
    class Meta:
        model = Membership

    team = factory.SubFactory(TeamFactory)
    user = factory.SubFactory(UserFactory)
    role = Role.DEVELOPER


class HostFactory(DjangoModelFactory[Host]):
    """Enrolled and online; `last_seen` older than 15 s makes it offline."""

    class Meta:
        model = Host

    name = factory.Sequence(lambda n: f"srv{n}")
    certificate_fingerprint = "ab" * 32
    enrolled_at = factory.LazyFunction(lambda: timezone.now() - timedelta(days=3))
    last_seen = factory.LazyFunction(timezone.now)
    facts = factory.LazyAttribute(lambda host: facts(host.name))
    metrics = factory.LazyFunction(
        lambda: {
            "load1": 0.7,
            "cpu_usec": 10_000_000,
            "memory_used_bytes": 9 * GIB,
            "pool_used_bytes": 120 * GIB,
            "pool_free_bytes": 280 * GIB,
        }
    )


class ReleaseFactory(DjangoModelFactory[Release]):
    class Meta:
        model = Release
        django_get_or_create = ("slug",)

    slug = "debian-bookworm"
    title = "Debian 12"
    distribution = "debian"
    suite = "bookworm"
    components = ["main"]


class BaseImageFactory(DjangoModelFactory[BaseImage]):
    class Meta:
        model = BaseImage

    host = factory.SubFactory(HostFactory)
    slug = "debian-bookworm"
    fingerprint = "0123456789abcdef"
    name = factory.Sequence(lambda n: f"nspawnweb-base-{n}")
    built_at = factory.LazyFunction(timezone.now)
    bytes = 210 << 20


class ContainerFactory(DjangoModelFactory[Container]):
    class Meta:
        model = Container

    name = factory.Sequence(lambda n: f"web{n}")
    host = factory.SubFactory(HostFactory)
    team = factory.SubFactory(TeamFactory)
    release = factory.SubFactory(ReleaseFactory)
    state = ContainerState.RUNNING
    created = True
    addresses = ["192.168.31.17"]
    os = "Debian GNU/Linux 12 (bookworm)"
    started_at = factory.LazyFunction(lambda: timezone.now() - timedelta(hours=2))
    image_bytes = 260 << 20


class DiscoveredFactory(DjangoModelFactory[DiscoveredMachine]):
    class Meta:
        model = DiscoveredMachine

    host = factory.SubFactory(HostFactory)
    name = factory.Sequence(lambda n: f"byhand{n}")
    info = factory.LazyAttribute(lambda found: {"name": found.name, "state": "running"})


class JobFactory(DjangoModelFactory[Job]):
    """A job that has succeeded; `host` and `container` fill the plain columns."""

    class Meta:
        model = Job

    class Params:
        host = None
        container = None

    kind = "container.start"
    title = factory.LazyAttribute(lambda job: f"Start container {job.container_name}")
    state = JobState.SUCCEEDED
    host_id = factory.LazyAttribute(lambda job: (job.host or job.container.host).pk)
    host_name = factory.LazyAttribute(lambda job: (job.host or job.container.host).name)
    container_id = factory.LazyAttribute(lambda job: job.container.pk if job.container else None)
    container_name = factory.LazyAttribute(lambda job: job.container.name if job.container else "")
    team = factory.LazyAttribute(lambda job: job.container.team if job.container else None)
    by_name = factory.LazyAttribute(lambda job: job.by.get_username() if job.by else "system")
    by = None
    started_at = factory.LazyFunction(lambda: timezone.now() - timedelta(seconds=5))
    finished_at = factory.LazyFunction(timezone.now)


def tell(job: Job, *bodies: tuple[str, dict[str, Any]]) -> None:
    """Store events of a job, a second apart, as the relay would."""
    begin = job.started_at or timezone.now()
    first = job.last_seq + 1
    rows = [
        JobEvent(job=job, seq=first + n, at=begin + timedelta(seconds=first + n - 1), type=kind, data=data)
        for n, (kind, data) in enumerate(bodies)
    ]
    JobEvent.objects.bulk_create(rows)
    Job.objects.filter(pk=job.pk).update(last_seq=first + len(rows) - 1)
    job.refresh_from_db()
