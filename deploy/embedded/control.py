"""Starting, stopping and watching the supervisor, from other processes."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from deploy.embedded.options import PYTHON, ROOT, Layout
from deploy.embedded.redis_server import write_private
from deploy.embedded.supervisor import Part

STOP_S = 90.0


class ControlError(Exception):
    """Something cannot be done; the message is fit for a person."""


@contextmanager
def start_lock(layout: Layout, *, patience: float = 2.0) -> Iterator[int]:
    """The lock that a supervisor holds for its whole life. Raises ControlError if somebody has it for `patience` s.

    The supervisor inherits the descriptor; flock(2) keeps the lock until the last copy of it is closed. The patience
    is for those who only look (`is_locked`).
    """
    layout.run.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(layout.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        deadline = time.monotonic() + patience
        while not _flock(descriptor, fcntl.LOCK_EX):
            if time.monotonic() > deadline:
                raise ControlError(
                    f"The portal in {layout.var} runs already, or is being started or stopped by another `./dev`. "
                    "See `./dev status`; `./dev down` stops it."
                )
            time.sleep(0.05)
        yield descriptor
    finally:
        os.close(descriptor)


def launch(layout: Layout, parts: Iterable[Part], lock: int, *, echo: bool) -> subprocess.Popen[bytes]:
    """Start the supervisor in a session of its own, so that Ctrl-C in a terminal is ours to pass on."""
    layout.status.unlink(missing_ok=True)
    layout.log.mkdir(mode=0o700, parents=True, exist_ok=True)
    plan = {"log": str(layout.log), "echo": echo, "parts": [asdict(part) for part in parts]}
    write_private(layout.plan, json.dumps(plan, indent=1) + "\n")
    argv = [str(PYTHON), "-m", "deploy.embedded.supervisor", str(layout.plan), str(layout.status)]
    with (layout.log / "supervisor-errors.log").open("ab") as errors:
        return subprocess.Popen(
            argv,
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stdin=subprocess.DEVNULL,
            stdout=None if echo else errors,
            stderr=None if echo else errors,
            start_new_session=True,
            pass_fds=(lock,),
        )


def read_status(layout: Layout) -> dict[str, Any] | None:
    """What the supervisor says; None unless it runs (its lock tells, a stale file does not)."""
    if not is_locked(layout):
        return None
    try:
        found: dict[str, Any] = json.loads(layout.status.read_text())
    except FileNotFoundError:
        return None
    return found


def is_locked(layout: Layout) -> bool:
    """Whether a supervisor runs or is being started."""
    if not layout.lock.exists():
        return False
    descriptor = os.open(layout.lock, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return not _flock(descriptor, fcntl.LOCK_SH)
    finally:
        os.close(descriptor)


def _flock(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def await_ready(url: str, supervisor: subprocess.Popen[bytes], log: Path, *, limit: float = 60.0) -> None:
    """Wait until the portal answers a request. Raises ControlError with the last of its log if it does not."""
    deadline = time.monotonic() + limit
    while not answers(url):
        if supervisor.poll() is not None or time.monotonic() > deadline:
            tail = "\n".join(tail_of(log / "web.log", 15))
            raise ControlError(f"The portal did not come up at {url}. The last of {log / 'web.log'}:\n{tail}")
        time.sleep(0.1)


def answers(url: str) -> bool:
    """Whether the portal answers and finds its database and its Redis."""
    try:
        with urllib.request.urlopen(f"{url}/healthz", timeout=10) as response:  # noqa: S310 - our own http URL
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def stop(layout: Layout) -> bool:
    """Stop the supervisor and with it all parts; False if none ran. Raises ControlError if it does not end."""
    status = read_status(layout)
    if status is None:
        return False
    os.kill(int(status["pid"]), signal.SIGTERM)
    deadline = time.monotonic() + STOP_S
    while is_locked(layout):
        if time.monotonic() > deadline:
            raise ControlError(f"The supervisor (pid {status['pid']}) did not end within {STOP_S:.0f} s.")
        time.sleep(0.05)
    return True


def tail_of(path: Path, lines: int) -> list[str]:
    """The last lines of a file, read from its last 256 KiB."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - 256 * 1024))
            return file.read().decode(errors="replace").splitlines()[-lines:]
    except FileNotFoundError:
        return []


def show_logs(layout: Layout, names: list[str], *, follow: bool, lines: int) -> int:
    """Print the last lines of parts' logs; with `follow` go on until Ctrl-C, also over a rotation."""
    known = sorted(path.stem for path in layout.log.glob("*.log"))
    if unknown := [name for name in names if name not in known]:
        raise ControlError(f"There is no log of {', '.join(unknown)}. There are: {', '.join(known) or 'none yet'}.")
    chosen = names or known
    files = {}
    for name in chosen:
        path = layout.log / f"{name}.log"
        for line in tail_of(path, lines):
            print(f"{name:11}| {line}")
        files[name] = path.open("rb")
        files[name].seek(0, os.SEEK_END)
    try:
        while follow:
            news = [_print_new(name, files, layout.log / f"{name}.log") for name in chosen]
            if not any(news):
                sys.stdout.flush()
                time.sleep(0.2)
    except KeyboardInterrupt:
        pass
    finally:
        for file in files.values():
            file.close()
    return 0


def _print_new(name: str, files: dict[str, Any], path: Path) -> bool:
    """New lines of one log; True if there were any. A file that was rotated away is read to its end first."""
    text = files[name].read().decode(errors="replace")
    for line in text.splitlines():
        print(f"{name:11}| {line}")
    if not text and path.exists() and path.stat().st_ino != os.fstat(files[name].fileno()).st_ino:
        files[name].close()
        files[name] = path.open("rb")
        return True
    return bool(text)
