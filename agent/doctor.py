"""The doctor: every requirement of a host; what was found, what is wanted, how to mend it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import stat
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path

from cryptography import x509
from redis.exceptions import RedisError

from agent import cgroups, machines, paths, pinned
from agent.config import Config
from agent.errors import AgentError
from agent.pinned import Trust
from agent.systemd.bus import Bus
from agent.systemd.systemd1 import Systemd
from contract.live import Check, CheckResult

OK, WARN, FAIL = CheckResult.OK, CheckResult.WARN, CheckResult.FAIL
UNITS = ("nspawnweb-agent-jobs.service", "nspawnweb-agent-live.service")
_GIB = 2**30


Findings = list[Check] | Awaitable[list[Check]]


@dataclass(frozen=True)
class Patient:
    """What the checks look at. `config` is None before enrolment."""

    bus: Bus | None
    config: Config | None


def _check(key: str, title: str, result: CheckResult, found: str, wanted: str, mend: str = "") -> Check:
    return Check(
        key=key, title=title, result=result, found=found[:500], wanted=wanted, mend="" if result is OK else mend
    )


def _yes(good: bool, otherwise: CheckResult = FAIL) -> CheckResult:
    return OK if good else otherwise


async def examine(config: Config | None) -> list[Check]:
    """All checks, in the order in which they should be mended."""
    bus: Bus | None = None
    with contextlib.suppress(AgentError):  # the check of systemd says so
        bus = await Bus.connect()
    try:
        patient = Patient(bus, config)
        found: list[Check] = []
        for one in _CHECKS:
            found += await _examined(one, patient)
        return found
    finally:
        if bus is not None:
            await bus.close()


async def _examined(one: Callable[[Patient], Findings], patient: Patient) -> list[Check]:
    """A check that breaks is a finding, not an end."""
    try:
        found = one(patient)
        return found if isinstance(found, list) else await found
    except (AgentError, OSError, TimeoutError, ValueError, KeyError) as error:
        name = one.__name__.strip("_")
        return [_check(name, name.replace("_", " ").capitalize(), WARN, f"Could not be examined: {error}", "an answer")]


# --- systemd --------------------------------------------------------------------------------------------------------


async def _systemd(patient: Patient) -> list[Check]:
    root = _check("root", "Rights", _yes(os.geteuid() == 0), f"user id {os.geteuid()}", "root", "Run it as root.")
    leader = _init()
    mend = "Use a host that is booted by systemd."
    first = _check("pid1", "Init system", _yes(leader == "systemd"), leader, "systemd as PID 1", mend)
    if patient.bus is None:
        bus = _check("dbus", "System bus", FAIL, "no answer", "D-Bus", "apt-get install dbus, then reboot")
        return [root, first, bus]
    version = str(await Systemd(patient.bus).manager_property("Version"))
    leading = re.match(r"v?(\d+)", version)
    number = int(leading.group(1)) if leading else 0
    mend = "Upgrade the host to Debian 12, Ubuntu 24.04 or newer."
    return [
        root,
        first,
        _check("systemd", "systemd", _yes(number >= 252), version, "252 or newer", mend),
        _cve(version),
    ]


def _init() -> str:
    return Path("/proc/1/comm").read_text().strip()


def nspawn_is_fixed(version: str) -> bool:
    """CVE-2026-40226: 233 to 259 read settings beside an image; where it is fixed."""
    numbers = [int(part) for part in re.findall(r"\d+", version.split("-")[0].split("~")[0])]
    major, minor, *_ = [*numbers, 0, 0]
    if debian := re.match(r"v?252\.39-1~deb12u(\d+)", version):
        return int(debian.group(1)) >= 2
    fixed = {252: 40, 257: 12, 258: 6, 259: 4}
    return major < 233 or major >= 260 or minor >= fixed.get(major, 10**6)


def _cve(version: str) -> Check:
    good = nspawn_is_fixed(version)
    found = f"{version}: {'fixed' if good else 'reads crafted settings beside images made by hand'}"
    wanted = "252.39-1~deb12u2, 257.12, 258.6, 259.4, 260 or newer"
    mend = "apt-get install --only-upgrade systemd-container. Containers of the portal are not affected."
    return _check("nspawn_cve", "CVE-2026-40226", _yes(good, WARN), found, wanted, mend)


async def _services(patient: Patient) -> list[Check]:
    if patient.bus is None:
        return []
    systemd = Systemd(patient.bus)
    machined = (await systemd.unit("systemd-machined.service"))["LoadState"]
    networkd = (await systemd.unit("systemd-networkd.service"))["ActiveState"]
    resolved = (await systemd.unit("systemd-resolved.service"))["ActiveState"]
    return [
        _check(
            "machined",
            "Machine manager",
            _yes(machined == "loaded"),
            machined,
            "systemd-machined",
            "apt-get install systemd-container",
        ),
        _check(
            "networkd",
            "Container network",
            _yes(networkd == "active"),
            networkd,
            "systemd-networkd active: it gives containers addresses and NAT",
            "systemctl enable --now systemd-networkd (it leaves interfaces without a .network file alone)",
        ),
        _check(
            "resolved",
            "Name resolution",
            _yes(resolved == "active", WARN),
            resolved,
            "systemd-resolved active: containers then resolve as the host does",
            "apt-get install systemd-resolved",
        ),
    ]


async def _units(patient: Patient) -> list[Check]:
    if patient.bus is None:
        return []
    rows = []
    for unit in UNITS:
        state = await Systemd(patient.bus).unit_property(unit, "ActiveState")
        mend = f"systemctl enable --now {unit}; journalctl -u {unit}"
        short = unit.removeprefix("nspawnweb-agent-").removesuffix(".service")
        rows.append(_check(f"unit_{short}", f"Agent: {short}", _yes(state == "active", WARN), state, "active", mend))
    return rows


# --- tools, pool, kernel --------------------------------------------------------------------------------------------


def _tools(patient: Patient) -> list[Check]:
    rows = []
    for program, package, need in (
        ("systemd-nspawn", "systemd-container", FAIL),
        ("mmdebstrap", "mmdebstrap", FAIL),
        ("debootstrap", "debootstrap", WARN),
        ("nft", "nftables", WARN),
    ):
        found = shutil.which(program)
        rows.append(
            _check(
                program,
                program,
                _yes(found is not None, need),
                found or "not there",
                program,
                f"apt-get install {package}",
            )
        )
    for name, file, need in (
        ("debian", "/usr/share/keyrings/debian-archive-keyring.gpg", FAIL),
        ("ubuntu", "/usr/share/keyrings/ubuntu-archive-keyring.gpg", WARN),
    ):
        there = Path(file).exists()
        package = "debian-archive-keyring" if name == "debian" else "ubuntu-keyring"
        title = f"Keys of {name.capitalize()}"
        wanted = f"{file}, to verify {name.capitalize()} images"
        rows.append(
            _check(
                f"keyring_{name}",
                title,
                _yes(there, need),
                "there" if there else "not there",
                wanted,
                f"apt-get install {package}",
            )
        )
    return rows


def _pool(patient: Patient) -> list[Check]:
    kind = machines.pool_fs()
    total, free = machines.pool_space()
    rows = [
        _check(
            "pool",
            "Container pool",
            _yes(kind == "btrfs", WARN),
            f"{paths.MACHINES} on {kind}",
            "btrfs: clones are snapshots, made at once and sharing their data",
            "Mount a btrfs file system at /var/lib/machines. Without it every container is a full copy.",
        ),
        _check(
            "space",
            "Free space",
            OK if free >= 5 * _GIB else WARN if free >= _GIB else FAIL,
            f"{free / _GIB:.1f} of {total / _GIB:.1f} GiB",
            "5 GiB",
            "Free space under /var/lib/machines, or enlarge its file system.",
        ),
    ]
    if paths.MACHINES.exists():
        mode = stat.S_IMODE(paths.MACHINES.stat().st_mode)
        mend = f"chmod 0700 {paths.MACHINES}"
        rows.append(_check("pool_mode", "Pool's mode", _yes(mode == 0o700), f"{mode:04o}", "0700", mend))
    else:
        mend = f"mkdir --mode=0700 {paths.MACHINES}"
        rows.append(_check("pool_mode", "Pool's mode", FAIL, "not there", "0700", mend))
    return rows


INOTIFY_WANTED = 1024
"""Linux's default of 128 for all of root's containers together is used up by about twenty."""


def _kernel(patient: Patient) -> list[Check]:
    spaces = int(Path("/proc/sys/user/max_user_namespaces").read_text())
    forward = Path("/proc/sys/net/ipv4/ip_forward").read_text().strip()
    instances = int(Path("/proc/sys/fs/inotify/max_user_instances").read_text())
    missing = _missing_controllers()
    return [
        _check(
            "userns",
            "User namespaces",
            _yes(spaces > 0),
            str(spaces),
            "more than 0: root in a container is nobody on the host",
            "sysctl user.max_user_namespaces=65536",
        ),
        _check(
            "cgroups",
            "Resource control",
            _yes(not missing, WARN),
            f"missing: {', '.join(missing)}" if missing else "cpu, memory, pids",
            "controllers cpu, memory, pids, for limits and charts",
            "Boot without cgroup_disable=; on small boards add cgroup_enable=memory to the kernel's command line.",
        ),
        _check(
            "forward",
            "IP forwarding",
            _yes(forward == "1", WARN),
            forward,
            "1, so that containers reach the network (networkd sets it with the first container)",
            "sysctl net.ipv4.ip_forward=1",
        ),
        _check(
            "inotify",
            "inotify instances",
            _yes(instances >= INOTIFY_WANTED, WARN),
            str(instances),
            f"{INOTIFY_WANTED} or more: each container's systemd takes some, and without them it does not boot",
            f"sysctl fs.inotify.max_user_instances={INOTIFY_WANTED}",
        ),
    ]


def _missing_controllers() -> list[str]:
    there = set(cgroups.mounts())
    if (root := cgroups.mounts().get("")) is not None and (root / "cgroup.controllers").exists():
        there |= set((root / "cgroup.controllers").read_text().split())
    return [name for name in ("cpu", "memory", "pids") if name not in there]


# --- portal ---------------------------------------------------------------------------------------------------------


async def _portal(patient: Patient) -> list[Check]:
    config = patient.config
    if config is None:
        return [
            _check("enrolled", "Enrolment", WARN, "not enrolled", "enrolled", "nspawnweb-agent enrol URL --token T")
        ]
    rows = [_check("enrolled", "Enrolment", OK, f"{config.name} at {config.portal_url}", "enrolled")]
    try:
        answer = await asyncio.to_thread(pinned.request, f"{config.portal_url}/agent/ping", Trust(ca=config.ca))
        rows.append(_check("portal", "Portal", OK, "answers", "reachable"))
        rows += _clock(answer.date)
    except AgentError as error:
        rows.append(_check("portal", "Portal", FAIL, f"{error.what} {error.why}", "reachable", error.hint))
    rows += [await _redis(config), _certificate(config)]
    return rows


def _clock(date: str) -> list[Check]:
    if not date:
        return []
    ahead = (datetime.now(UTC) - parsedate_to_datetime(date)).total_seconds()
    result = OK if abs(ahead) < 10 else WARN if abs(ahead) < 60 else FAIL
    found = "in step" if result is OK else f"{abs(ahead):.0f} s {'ahead' if ahead > 0 else 'behind'}"
    mend = "timedatectl set-ntp true"
    return [_check("clock", "Clock", result, found, "within 10 s of the portal's", mend)]


async def _redis(config: Config) -> Check:
    place = f"{config.redis_host}:{config.redis_port}"
    client = config.redis_async(socket_timeout=10)
    try:
        await client.ping()
        return _check("redis", "Redis", OK, f"{place} answers", "reachable")
    except (RedisError, OSError) as error:
        mend = "Check that this host may connect to it; if the portal was set up anew, enrol this host anew."
        return _check("redis", "Redis", FAIL, f"{place}: {error}", "reachable", mend)
    finally:
        await client.aclose()


def _certificate(config: Config) -> Check:
    until = x509.load_pem_x509_certificate(config.certificate.read_bytes()).not_valid_after_utc
    days = (until - datetime.now(UTC)).days
    result = OK if days > 30 else WARN if days > 0 else FAIL
    mend = "Enrol this host anew with the line that the portal shows."
    return _check("certificate", "Certificate", result, f"until {until:%Y-%m-%d}", "30 days or more", mend)


_CHECKS: tuple[Callable[[Patient], Findings], ...] = (
    _systemd,
    _services,
    _tools,
    _pool,
    _kernel,
    _portal,
    _units,
)


def as_text(checks: list[Check]) -> str:
    """For a terminal: one line a check, the cure beneath what ails."""
    mark = {OK: "ok  ", WARN: "warn", FAIL: "FAIL"}
    rows = []
    for check in checks:
        rows.append(f"{mark[check.result]}  {check.title:20} {check.found}")
        if check.result is not OK:
            rows.append(f"      {'wanted:':20} {check.wanted}")
            rows.append(f"      {'to mend it:':20} {check.mend}")
    return "\n".join(rows)
