"""Every end-to-end test begins with hosts that are empty but for their base images, also after one that failed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.stack import Stack


@pytest.fixture(autouse=True)
def empty_hosts(request: pytest.FixtureRequest) -> Iterator[None]:
    if "stack" not in request.fixturenames:
        yield
        return
    stack: Stack = request.getfixturevalue("stack")
    stack.remove_all()
    yield
    stack.remove_all()
