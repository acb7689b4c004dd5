"""Counters of a control group, on the unified hierarchy or on the old one with a mount a controller."""

from __future__ import annotations

import contextlib
from functools import cache
from pathlib import Path

from contract.live import Metrics

_NO_LIMIT = 2**60
"""cgroup v1 says "no limit" with a number near 2^63."""


@cache
def mounts() -> dict[str, Path]:
    """Controller -> mount point; "" is the unified hierarchy (cgroups(7))."""
    found: dict[str, Path] = {}
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        left, _, right = line.partition(" - ")
        kind, _, options = right.split(" ", 2)
        point = Path(left.split(" ")[4])
        if kind == "cgroup2":
            found.setdefault("", point)
        elif kind == "cgroup":
            for option in options.split(" ")[-1].split(","):
                found.setdefault(option, point)
    return found


def read(group: str) -> Metrics:
    """Counters of the group at `group` (a unit's ControlGroup); what cannot be known is None."""
    relative = group.strip("/")
    values = _unified(relative)
    for name, value in _legacy(relative).items():
        if values.get(name) is None:
            values[name] = value
    return Metrics(**values)


def _unified(relative: str) -> dict[str, int | None]:
    root = mounts().get("")
    if root is None:
        return {}
    group = root / relative
    reads, writes = _io_stat(group / "io.stat")
    return {
        "cpu_usec": _field(group / "cpu.stat", "usage_usec"),
        "memory_bytes": _number(group / "memory.current"),
        "memory_limit_bytes": _number(group / "memory.max"),
        "tasks": _number(group / "pids.current"),
        "io_read_bytes": reads,
        "io_write_bytes": writes,
    }


def _legacy(relative: str) -> dict[str, int | None]:
    values: dict[str, int | None] = {}
    table = {
        "memory_bytes": ("memory", "memory.usage_in_bytes"),
        "memory_limit_bytes": ("memory", "memory.limit_in_bytes"),
        "tasks": ("pids", "pids.current"),
        "cpu_usec": ("cpuacct", "cpuacct.usage"),
    }
    for name, (controller, file) in table.items():
        if controller in mounts():
            values[name] = _number(mounts()[controller] / relative / file)
    nanoseconds = values.get("cpu_usec")
    if nanoseconds is not None:
        values["cpu_usec"] = nanoseconds // 1000
    limit = values.get("memory_limit_bytes")
    if limit is not None and limit >= _NO_LIMIT:
        values["memory_limit_bytes"] = None
    if "blkio" in mounts():
        group = mounts()["blkio"] / relative / "blkio.throttle.io_service_bytes"
        values["io_read_bytes"], values["io_write_bytes"] = _blkio(group)
    return values


def _text(file: Path) -> str | None:
    with contextlib.suppress(OSError):
        return file.read_text()
    return None


def _number(file: Path) -> int | None:
    text = (_text(file) or "").strip()
    return int(text) if text.isdigit() else None


def _field(file: Path, name: str) -> int | None:
    for line in (_text(file) or "").splitlines():
        key, _, value = line.partition(" ")
        if key == name and value.isdigit():
            return int(value)
    return None


def _io_stat(file: Path) -> tuple[int | None, int | None]:
    text = _text(file)
    if text is None:
        return None, None
    totals = {"rbytes": 0, "wbytes": 0}
    for word in text.split():
        key, _, value = word.partition("=")
        if key in totals and value.isdigit():
            totals[key] += int(value)
    return totals["rbytes"], totals["wbytes"]


def _blkio(file: Path) -> tuple[int | None, int | None]:
    text = _text(file)
    if text is None:
        return None, None
    totals = {"Read": 0, "Write": 0}
    for line in text.splitlines():
        words = line.split()
        if len(words) == 3 and words[1] in totals and words[2].isdigit():
            totals[words[1]] += int(words[2])
    return totals["Read"], totals["Write"]
