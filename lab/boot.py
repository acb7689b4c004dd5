"""Starting a host, detached, and waiting until its systemd says that it is up."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

from lab import cgroups, inside
from lab.command import tool
from lab.errors import LabError
from lab.paths import Place
from lab.processes import Known, alive, children, is_namespace_init, know
from lab.records import Record

#: Run by sh: join the groups given before "--", then start the rest in the background, and tell its pid.
LAUNCH = """
while [ "$1" != -- ]; do echo $$ > "$1/cgroup.procs" || exit 1; shift; done; shift
"$@" </dev/null >&2 & echo $!
"""


def nspawn_argv(place: Place, release: str, name: str) -> list[str]:
    """systemd-nspawn as FACTS found it to work; the link's host end gets a name of ours.

    With systemd as process 1 of the outer machine it runs in a delegated scope, where systemd-run
    becomes systemd-nspawn (systemd-run(1), --scope), so the pid stays the same.
    """
    scope = [
        tool("systemd-run"), "--scope", "--quiet", "--collect", "--slice=system.slice",
        f"--unit={place.machine}", "-p", "Delegate=yes", "--",
    ] if cgroups.systemd_runs() else []  # fmt: skip
    return [
        *scope, tool("systemd-nspawn"), "--quiet", "-D", str(place.root), "--register=no",
        "--keep-unit", "--capability=all", f"--network-veth-extra={place.link}:host0",
        "-M", place.machine, f"--hostname={name}", "--console=passive", "--resolv-conf=off",
        "--timezone=off", "--link-journal=no", "--kill-signal=SIGRTMIN+3",
        f"--bind={place.pool}:/var/lib/machines", "/usr/local/sbin/lab-init",
    ]  # fmt: skip


def nspawn_environment(release: str) -> dict[str, str]:
    """systemd 257 does not boot on cgroup v1 (its NEWS), so trixie gets v2 also on mixed machines."""
    found = {**os.environ, "SYSTEMD_SECCOMP": "0", "SYSTEMD_NSPAWN_API_VFS_WRITABLE": "1"}
    if release != "bookworm":
        found["SYSTEMD_NSPAWN_UNIFIED_HIERARCHY"] = "1"
    return found


def launch(record: Record, place: Place) -> Known:
    """Start the supervisor (systemd-nspawn) outside of our session; its pid goes on record.

    It runs in groups that are on record beforehand, so it is found even when we die right here.
    """
    groups = cgroups.planned(place.machine)
    for group in groups:
        record.will_make("cgroup", path=group)
    cgroups.make(groups)
    record.will_make("link", name=place.link)
    join = [] if cgroups.systemd_runs() else groups
    argv = ["/bin/sh", "-c", LAUNCH, "sh", *join, "--"]
    pid = _start(argv + nspawn_argv(place, record.release, record.name), place, record.release)
    record.supervisor = know(pid)
    record.save()
    if record.supervisor is None:
        raise LabError("systemd-nspawn ended at once", why=tail(place.console))
    return record.supervisor


def _start(argv: list[str], place: Place, release: str) -> int:
    """Start by way of a shell that ends, so the supervisor is nobody's child and no zombie."""
    with place.console.open("wb") as console:
        done = subprocess.run(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=console, check=False,
            env=nspawn_environment(release), start_new_session=True, cwd="/", text=True,
        )  # fmt: skip
    if not done.stdout.strip():
        raise LabError("systemd-nspawn could not be started", why=tail(place.console))
    return int(done.stdout)


def find_leader(supervisor: Known, deadline: float) -> Known:
    """The host's process 1: the supervisor's child that is 1 in its own pid namespace.

    `deadline` is of time.monotonic(). Raises LabError when the supervisor ends or time is up.
    """
    while alive(supervisor) and time.monotonic() < deadline:
        for pid in children(supervisor.pid):
            leader = know(pid) if is_namespace_init(pid) else None
            if leader is not None:
                return leader
        time.sleep(0.02)
    raise LabError("systemd-nspawn ended before the host's process 1 was there")


def system_state(leader: Known) -> str:
    """What `systemctl is-system-running` says in the host; "" when it cannot say yet."""
    return ask(leader, ["systemctl", "is-system-running"]).strip()


def ask(leader: Known, command: list[str], timeout: float = 10) -> str:
    """Output of a command in a host that may not be up yet; "" when it cannot be run."""
    argv = inside.argv(leader.pid, command)
    try:
        done = subprocess.run(
            argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace",
            timeout=timeout, env=inside.environment(), check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return ""
    return done.stdout


def await_running(leader: Known, console: Path, deadline: float) -> None:
    """Wait until the host's systemd says "running".

    Raises LabError when it says "degraded" (with the units that failed), when the host dies, and
    when `deadline` (of time.monotonic()) has passed, each with the end of the console.
    """
    state = ""
    while alive(leader) and time.monotonic() < deadline:
        state = system_state(leader)
        if state == "running":
            return
        if state == "degraded":
            failed = ask(leader, ["systemctl", "--failed", "--no-legend", "--plain"])
            raise LabError("the host is up, but units in it failed", why=f"{failed}\n{tail(console)}")
        time.sleep(0.05)
    what = "did not come up in time" if alive(leader) else "died while it booted"
    raise LabError(f"the host {what} (its systemd said {state or 'nothing'!r})", why=tail(console))


def tail(console: Path, lines: int = 20) -> str:
    """The last lines of a console log."""
    try:
        text = console.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return ""
    return "\n".join(text.splitlines()[-lines:])
