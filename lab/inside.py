"""Running commands in a host, by nsenter(1) from the outer machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from lab.command import SBIN, tool
from lab.surroundings import variables

NAMESPACES = ("-m", "-u", "-i", "-n", "-p", "-C")
#: Run by sh: join the group $1 (best effort), then become the rest.
JOIN = 'mkdir -p "$1" && echo $$ >"$1/cgroup.procs"; shift; exec "$@"'


def environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """A clean environment for a command in a host: nothing of the caller's but proxies, and `more`."""
    base = {"PATH": SBIN, "HOME": "/root", "USER": "root", "LANG": "C.UTF-8", "SHELL": "/bin/bash"}
    return {**base, **variables(), **(more or {})}


def argv(leader: int, command: Sequence[str], *, group: Path | None = None, on_death: str = "KILL") -> list[str]:
    """The argv that runs `command` in the host of process 1 `leader`, its root as root and cwd.

    With `group`, the host's cgroup v2, it is frozen and killed with the host.

    nsenter forks to enter the pid namespace. So that the command does not outlive it, the command
    gets the signal `on_death` when nsenter ends (setpriv(1), PR_SET_PDEATHSIG).
    """
    enter = [tool("nsenter"), "-t", str(leader), *NAMESPACES, "-r", "-w", "--"]
    join = ["/bin/sh", "-c", JOIN, "sh", str(group / "lab-exec")] if group else []
    return [*join, *enter, "/usr/bin/setpriv", "--pdeathsig", on_death, "--", *command]
