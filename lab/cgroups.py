"""A control group of its own for each host, on the three layouts that machines have.

- *mixed*: cgroup v1 hierarchies below a tmpfs, often with `unified` beside them. The host's
  supervisor is moved into a fresh group of every hierarchy before it starts. (Run.)
- *unified* without systemd as process 1: one fresh group, with the controllers passed down as far
  as the kernel lets us. (Not run.)
- *unified* with systemd: a transient scope with `Delegate=yes` (systemd.resource-control(5)). The
  scope's group is recorded; systemd removes it. (Run in a Debian 13 lab host, whose v2 has no
  controllers.)
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path

from lab.errors import LabError

MOUNT = Path("/sys/fs/cgroup")


def systemd_runs() -> bool:
    """Whether process 1 of this machine is systemd (sd_booted(3))."""
    return Path("/run/systemd/system").is_dir() and _first_process() == "systemd"


def _first_process() -> str:
    return Path("/proc/1/comm").read_text(encoding="utf-8").strip()


def is_unified() -> bool:
    """Whether /sys/fs/cgroup itself is cgroup v2."""
    return (MOUNT / "cgroup.controllers").exists()


def hierarchies() -> list[Path]:
    """The mount points of all hierarchies: one when unified, else each folder below the tmpfs."""
    if is_unified():
        return [MOUNT]
    found = (p for p in sorted(MOUNT.iterdir()) if p.is_dir() and not p.is_symlink())
    return [p for p in found if (p / "cgroup.procs").exists()]


def planned(name: str) -> list[str]:
    """The groups that `make` will make for a host, to be recorded first.

    With systemd in charge the scope's group is predicted: it is only ever used to end what is in
    it, when it exists.
    """
    if systemd_runs():
        return [str(p / "system.slice" / f"{name}.scope") for p in hierarchies()]
    return [str(p / name) for p in hierarchies()]


def make(groups: list[str]) -> None:
    """Make the groups of `planned`. With systemd in charge systemd makes them, and this nothing."""
    if systemd_runs():
        return
    for group in map(Path, groups):
        _pass_down(group.parent)
        try:
            group.mkdir(exist_ok=True)
            _fill_cpuset(group)
        except OSError as error:
            raise LabError(
                f"the control group {group} could not be made",
                why=str(error),
                todo="run the lab as root on a machine whose /sys/fs/cgroup is writable",
            ) from error


def _pass_down(parent: Path) -> None:
    """Let children of a v2 group have its controllers; a busy group refuses, and that is fine."""
    with suppress(OSError):
        for controller in (parent / "cgroup.controllers").read_text().split():
            with suppress(OSError):
                (parent / "cgroup.subtree_control").write_text(f"+{controller}")


def _fill_cpuset(group: Path) -> None:
    """A v1 cpuset group takes no process before it has CPUs and memory nodes (cpusets(7))."""
    for key in ("cpuset.cpus", "cpuset.mems"):
        here, above = group / key, group.parent / key
        if here.exists() and not (group / "cgroup.controllers").exists():
            here.write_text(above.read_text())


def kill(group: Path) -> None:
    """End every process in a group and below it (cgroup.kill, Linux 5.14; v2 groups only)."""
    with suppress(OSError):
        (group / "cgroup.kill").write_text("1")


def unified(groups: list[Path]) -> Path | None:
    """The one of a host's groups that is a cgroup v2; None on a machine without any."""
    return next((g for g in groups if (g / "cgroup.freeze").exists()), None)


def freeze(groups: list[Path], frozen: bool) -> None:
    """Stop or resume every process of a host at once (cgroup.freeze of its v2 group).

    Raises LabError on a machine without any cgroup v2, or when it is not done within 10 s.
    """
    group = unified(groups)
    if group is None:
        raise LabError("this machine has no cgroup v2, so a host cannot be frozen")
    (group / "cgroup.freeze").write_text(str(int(frozen)))
    _await_frozen(group, frozen)


def _await_frozen(group: Path, frozen: bool) -> None:
    wanted = f"frozen {int(frozen)}"
    deadline = time.monotonic() + 10
    while wanted not in (group / "cgroup.events").read_text().splitlines():
        if time.monotonic() >= deadline:
            raise LabError(f"{group.name} did not become '{wanted}' within 10 s")
        time.sleep(0.01)


def remove(group: Path) -> None:
    """Remove a group and all below it; waits up to 5 s for the last process to leave.

    Raises LabError when something in it will not go.
    """
    deadline = time.monotonic() + 5
    while group.exists():
        kill(group)
        for folder, _, _ in os.walk(group, topdown=False):
            with suppress(OSError):
                Path(folder).rmdir()
        if group.exists() and time.monotonic() >= deadline:
            raise LabError(f"the control group {group} is still busy")
        if group.exists():
            time.sleep(0.05)


def thaw_quietly(groups: list[Path]) -> None:
    """Let a host run again, if it is there and can be frozen at all."""
    group = unified(groups)
    if group is not None:
        with suppress(OSError):
            (group / "cgroup.freeze").write_text("0")
