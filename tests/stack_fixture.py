"""One running stack for all end-to-end and browser tests of a run."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.stack import Stack, running


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    with running(hosts=2) as found:
        yield found
