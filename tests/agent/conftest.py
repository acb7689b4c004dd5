"""Directories of an agent of the test's own, and a small portal."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.store import Store
from tests.agent.small_portal import SmallPortal


@pytest.fixture
def agent_dirs(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Short, since sockets live in it (unix(7): 107 bytes)."""
    folder = Path(tempfile.mkdtemp(prefix="nwa-"))
    for name in ("etc", "state", "run"):
        monkeypatch.setenv(f"NSPAWNWEB_AGENT_{name.upper()}", str(folder / name))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def agent_store(agent_dirs: Path) -> Iterator[Store]:
    store = Store()
    yield store
    store.close()


@pytest.fixture(scope="session")
def small_portal() -> Iterator[SmallPortal]:
    folder = Path(tempfile.mkdtemp(prefix="nwp-"))
    portal = SmallPortal(folder)
    yield portal
    portal.close()
    shutil.rmtree(folder)
