"""The first hosts: this machine or lab hosts, brought in by the very line that an operator would paste.

`hosts.json` in the state folder lists what was brought in, so that the next `up` boots it again and `down` stops it.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import lab
from deploy.embedded.options import LAB_GATEWAY, PYTHON, ROOT, Layout, Options
from deploy.embedded.redis_server import write_private

Say = Callable[[str], None]
Run = Callable[[str], str]
INSTALL_S, ONLINE_S = 900, 90
LOCAL = "local"
CONFIG = "/etc/nspawnweb-agent/config.json"


class HostError(Exception):
    """A host could not be brought in; the message is fit for a person."""


@dataclass(frozen=True)
class Known:
    """`kind` is `lab`, or `local` for this machine. `bundle` is the SHA-256 of the agent that was installed there."""

    name: str
    kind: str
    release: str = ""
    pool: str = ""
    bundle: str = ""


def read(layout: Layout) -> list[Known]:
    try:
        return [Known(**row) for row in json.loads(layout.hosts.read_text())]
    except FileNotFoundError:
        return []


def write(layout: Layout, hosts: list[Known]) -> None:
    write_private(layout.hosts, json.dumps([asdict(one) for one in hosts], indent=1) + "\n")


def wanted(layout: Layout, count: int | None, *, local: bool, say: Say) -> list[Known]:
    """Those of the last time; with `count` that many lab hosts at least; at the very first time one host.

    The first is this machine if systemd runs it and the doctor finds nothing wrong, else a lab host.
    """
    known = read(layout)
    if count is None and not layout.hosts.exists():
        if local and _fits(say):
            return [Known("localhost", LOCAL)]
        count = 1
    labs = [one for one in known if one.kind == "lab"]
    for number in range(1, (count or 0) + 1):
        name = f"lab{number}"
        if all(one.name != name for one in labs):
            release = "bookworm" if number % 2 else "trixie"
            labs.append(Known(name, "lab", release, "btrfs" if number % 2 else "ext4"))
    return [one for one in known if one.kind == LOCAL] + labs


def bring_in(hosts: list[Known], options: Options, layout: Layout, say: Say) -> list[Known]:
    """Boot lab hosts, install or upgrade the agent where needed, wait until each is online.

    One that fails is told about and does not keep the others out; raises HostError at the end in that case.
    """
    problems: list[str] = []
    done: dict[str, Known] = {one.name: one for one in hosts}
    write(layout, hosts)

    def one(known: Known) -> None:
        try:
            done[known.name] = _bring_in(known, options, layout, say)
        except (HostError, lab.LabError, subprocess.SubprocessError) as error:
            problems.append(f"{known.name}: {error}")

    with ThreadPoolExecutor(max_workers=2) as pool:
        list(pool.map(one, hosts))
    write(layout, list(done.values()))
    if problems:
        raise HostError("\n".join(problems))
    return list(done.values())


@contextmanager
def booting(layout: Layout) -> Iterator[None]:
    """Boot the lab hosts of the last time meanwhile: they take as long as the portal. `bring_in` tells what failed."""

    def boot(known: Known) -> None:
        with suppress(lab.LabError):
            lab.up(known.name, release=known.release, pool=known.pool, var=layout.var)

    with ThreadPoolExecutor(max_workers=2) as pool:
        for known in read(layout):
            if known.kind == "lab":
                pool.submit(boot, known)
        yield


def power_off(layout: Layout, say: Say) -> None:
    """Shut this portal's lab hosts down in good order, their state stays; other lab hosts are left alone."""
    for known in read(layout):
        if known.kind == "lab" and any(host.name == known.name and host.running for host in lab.hosts(layout.var)):
            say(f"lab host {known.name} powers off")
            lab.down(known.name, var=layout.var)


def _fits(say: Say) -> bool:
    """Whether this machine can be a host: systemd is process 1, and the agent's own doctor finds no fault."""
    if not Path("/run/systemd/system").is_dir():
        say("this machine is not run by systemd: the first host is a lab host")
        return False
    argv = [str(PYTHON), "-m", "agent", "doctor", "--json"]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    try:
        checks = json.loads(done.stdout)
    except ValueError:
        say("this machine could not be examined: the first host is a lab host")
        return False
    lacking = [check["title"] for check in checks if check["result"] == "fail" and check["key"] not in _MENDED]
    if lacking:
        say(f"this machine lacks what a host needs ({', '.join(lacking)}): the first host is a lab host")
    return not lacking


_MENDED = {"systemd-nspawn", "mmdebstrap", "debian", "pool_mode", "machined", "networkd", "portal", "redis"}
"""Checks of the doctor (agent/doctor.py) whose fault the installer mends."""


def _bring_in(known: Known, options: Options, layout: Layout, say: Say) -> Known:
    run, url = _way_in(known, options, layout, say)
    digest = _install(known, run, url, say)
    _await_online(known.name)
    say(f"host {known.name} is online")
    return Known(known.name, known.kind, known.release, known.pool, digest)


def _way_in(known: Known, options: Options, layout: Layout, say: Say) -> tuple[Run, str]:
    """How to run a root shell's line on the host, and where the portal is for it."""
    if known.kind == LOCAL:
        return _run_here, f"https://localhost:{options.agent_port}"
    host = lab.up(known.name, release=known.release, pool=known.pool, var=layout.var, say=say)

    def run(line: str) -> str:
        return host.run(["sh", "-c", line], timeout=INSTALL_S).stdout

    return run, f"https://{LAB_GATEWAY}:{options.agent_port}"


def _run_here(line: str) -> str:
    done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=False, timeout=INSTALL_S)
    if done.returncode != 0:
        raise HostError(f"{done.stdout}{done.stderr}")
    return done.stdout


def _install(known: Known, run: Run, url: str, say: Say) -> str:
    """Enrol a host that is not of this portal, upgrade one whose agent is old. Returns the bundle's SHA-256."""
    from machines.models import Host
    from machines.services import enrolment

    digest = enrolment.bundle_sha256()
    host = Host.objects.filter(name=known.name).first()
    if _says(run) != (str(host.pk) if host and host.revoked_at is None else None, url):
        say(f"host {known.name}: installing the agent by the line of Hosts, Add host")
        run(_line(known.name, host, url))
    elif known.bundle != digest:
        say(f"host {known.name}: installing the agent's new version")
        run(enrolment.install_line("", agent_url=url))
    return digest


def _says(run: Run) -> tuple[str | None, str]:
    """Host id and portal address in the host's own configuration."""
    text = run(f"cat {CONFIG} 2>/dev/null || echo '{{}}'")
    found = json.loads(text)
    return found.get("host"), str(found.get("portal_url", ""))


def _line(name: str, host: object, url: str) -> str:
    """A line with a fresh token; a host of that name whose machine was made anew is revoked first."""
    from django.contrib.auth.models import User

    from machines.models import Host
    from machines.services import enrolment, hosts

    admin = User.objects.get(username="admin")
    if isinstance(host, Host) and host.revoked_at is None:
        hosts.host_revoke(by=admin, host=host)
    _, plain = enrolment.token_create(by=admin, host_name=name)
    return enrolment.install_line(plain, agent_url=url)


def _await_online(name: str) -> None:
    from machines.models import Host

    deadline = time.monotonic() + ONLINE_S
    while not Host.objects.online().filter(name=name).exists():
        if time.monotonic() > deadline:
            raise HostError(
                f"its agent did not report within {ONLINE_S} s. Look with `./dev lab shell {name}`, "
                "`journalctl -u 'nspawnweb-agent-*'`, `nspawnweb-agent doctor`."
            )
        time.sleep(0.2)


def state(known: Known, layout: Layout) -> str:
    """A word on a host for `./dev status`."""
    if known.kind == LOCAL:
        return "this machine"
    running = any(host.name == known.name and host.running for host in lab.hosts(layout.var))
    return f"{'up' if running else 'off'}, {known.release}, {known.pool}"
