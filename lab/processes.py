"""Processes known by pid and start time, so that a reused pid is never taken for ours (proc(5))."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Known:
    """One process: its pid, and its start in clock ticks since the machine's boot."""

    pid: int
    start: int


def _stat(pid: int) -> list[str]:
    """Fields of /proc/PID/stat from the third (state) on; the name before may hold anything."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return []
    return text.rpartition(")")[2].split()


def know(pid: int) -> Known | None:
    """The process that has `pid` now; None when there is none or only its zombie."""
    fields = _stat(pid)
    if not fields or fields[0] in "ZX":
        return None
    return Known(pid, int(fields[19]))


def alive(process: Known) -> bool:
    """Whether that very process runs (not another one that got its pid, not a zombie)."""
    return know(process.pid) == process


def send(process: Known, number: int) -> bool:
    """Signal that very process; False when it is gone.

    A pidfd (pidfd_open(2)) is taken before the check, so the pid cannot change hands in between.
    """
    try:
        descriptor = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return False
    try:
        if not alive(process):
            return False
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(descriptor, number)
        return True
    finally:
        os.close(descriptor)


def wait_gone(process: Known, timeout: float) -> bool:
    """Wait up to `timeout` seconds for the end of that process; whether it has ended."""
    deadline = time.monotonic() + timeout
    while alive(process):
        if time.monotonic() >= deadline:
            return False
        time.sleep(0.02)
    return True


def children(pid: int) -> list[int]:
    """Pids of the direct children of `pid`, found by parent in /proc/*/stat."""
    pids = (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit())
    return [p for p in pids if (fields := _stat(p)) and int(fields[1]) == pid]


def is_namespace_init(pid: int) -> bool:
    """Whether `pid` is process 1 of a pid namespace of its own (NSpid in /proc/PID/status)."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines():
            if line.startswith("NSpid:"):
                numbers = line.split()[1:]
                return len(numbers) > 1 and numbers[-1] == "1"
    return False
