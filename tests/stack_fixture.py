"""One running stack for all end-to-end and browser tests of a run."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.stack import Stack, running


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    with running(hosts=2) as found:
        yield found


@pytest.fixture(autouse=True)
def empty_hosts(request: pytest.FixtureRequest) -> Iterator[None]:
    if "stack" not in request.fixturenames:
        yield
        return
    stack: Stack = request.getfixturevalue("stack")
    stack.remove_all()
    yield
    stack.remove_all()
