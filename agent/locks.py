"""Locks over processes of the agent, by flock(2): the kernel lets go when a holder dies."""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from agent import paths

_POLL_S = 0.02
"""flock(2) cannot be awaited; a thread that blocks in it could not be cancelled."""


def _file(name: str) -> Path:
    folder = paths.run_dir() / "locks"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder / name


def _take(descriptor: int, *, shared: bool) -> bool:
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def is_held(name: str) -> bool:
    """Whether some process holds it now."""
    descriptor = os.open(_file(name), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        return not _take(descriptor, shared=True)
    finally:
        os.close(descriptor)


@asynccontextmanager
async def hold(name: str, *, shared: bool = False, on_wait: Callable[[], None] | None = None) -> AsyncIterator[None]:
    """Hold the lock `name`; wait as long as it takes, after telling `on_wait` once."""
    descriptor = os.open(_file(name), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        if not _take(descriptor, shared=shared):
            if on_wait is not None:
                on_wait()
            while not _take(descriptor, shared=shared):  # noqa: ASYNC110 - flock has no event to wait for
                await asyncio.sleep(_POLL_S)
        yield
    finally:
        os.close(descriptor)


def machine(name: str) -> str:
    """Lock of one container: two jobs on it never overlap."""
    return f"machine-{name}"


def image(name: str) -> str:
    """Lock of one base image: exclusive to build it, shared to clone it."""
    return f"image-{name}"


def job(job_id: str) -> str:
    """Lock of one job: held by the process that works on it."""
    return f"job-{job_id}"
