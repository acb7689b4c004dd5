"""Files that are never seen half-written, and locks between processes."""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lab.errors import LabError


def write_text(path: Path, text: str, mode: int = 0o644) -> None:
    """Write a whole file or nothing: to a neighbour, then renamed over `path`.

    It is there for whoever comes after a crash of this process. It is not forced to the disk: that takes
    tens of milliseconds, and what records tell of does not outlive a crash of the machine either.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{os.getpid()}.new")
    with fresh.open("w", encoding="utf-8") as file:
        os.fchmod(file.fileno(), mode)
        file.write(text)
    fresh.replace(path)


def read_json(path: Path) -> dict[str, Any] | None:
    """The JSON object in `path`; None when there is no such file or it holds something else."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    return found if isinstance(found, dict) else None


@contextmanager
def locked(path: Path, *, timeout: float = 600) -> Iterator[None]:
    """Hold an exclusive lock (flock(2)) on `path`, waiting up to `timeout` seconds for it.

    The kernel drops the lock with its holder, so a crash never leaves one behind. Raises LabError
    when the time is up.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        _take(file.fileno(), path, time.monotonic() + timeout)
        yield


def _take(descriptor: int, path: Path, deadline: float) -> None:
    while True:
        try:
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise LabError(
                    f"{path.name} is held by another lab process",
                    todo="wait for it to finish, or end that process",
                ) from None
            time.sleep(0.05)
