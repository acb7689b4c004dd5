"""Facts of the host and its machines: for the live service's inventory and for operations."""

from __future__ import annotations

import asyncio
import contextlib
import os
import platform
import re
import socket
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from agent import VERSION, cgroups, paths, records
from agent.systemd.bus import Bus, DBusError, NoSuchMachine, NoSuchUnit
from agent.systemd.machine1 import Machined
from agent.systemd.systemd1 import Systemd
from contract.live import Check, HostFacts, HostMetrics, ImageInfo, MachineInfo, MachineState, Metrics

ASK_S = 5.0
"""How long a container's own systemd may take to say how it is."""
_AT_ONCE = 4

_UNIT_STATE = {
    "activating": MachineState.STARTING,
    "reloading": MachineState.RUNNING,
    "deactivating": MachineState.STOPPING,
    "failed": MachineState.FAILED,
    "inactive": MachineState.STOPPED,
}
_INSIDE_STATE = {
    "initializing": MachineState.STARTING,
    "starting": MachineState.STARTING,
    "running": MachineState.RUNNING,
    "degraded": MachineState.DEGRADED,
    "maintenance": MachineState.DEGRADED,
    "stopping": MachineState.STOPPING,
}


async def ask_inside(name: str, *, wait: bool = False, timeout: float = ASK_S) -> str:
    """What the container's systemd says of itself (systemctl(1), is-system-running); "" if it does not answer."""
    argv = ["systemctl", f"--machine={name}", "is-system-running"] + (["--wait"] if wait else [])
    process = await asyncio.create_subprocess_exec(
        *argv, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        async with asyncio.timeout(timeout):
            out, _ = await process.communicate()
    except TimeoutError:
        return ""
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return out.decode(errors="replace").strip()


async def machine_state(bus: Bus, name: str) -> MachineState:
    """The unit's word, refined by the container's own."""
    try:
        active = await Systemd(bus).unit_property(paths.unit_name(name), "ActiveState")
    except NoSuchUnit:
        active = "inactive"
    if active == "active" or (active in ("inactive", "failed") and await Machined(bus).is_running(name)):
        return _INSIDE_STATE.get(await ask_inside(name), MachineState.RUNNING)
    return _UNIT_STATE.get(active, MachineState.STOPPED)


def is_enabled(name: str) -> bool:
    """Whether it starts with the host: the link that `machinectl enable` makes."""
    return (paths.MACHINES_WANTS / paths.AUTOSTART_LINK.format(name=name)).is_symlink()


async def machine_info(bus: Bus, name: str, *, image_bytes: int | None = None) -> MachineInfo:
    """Everything about one machine, running or not."""
    machined = Machined(bus)
    info = MachineInfo(
        name=name,
        state=await machine_state(bus, name),
        enabled=is_enabled(name),
        image_bytes=image_bytes,
        managed=records.machine(name) is not None,
    )
    with contextlib.suppress(NoSuchMachine):
        properties = await machined.properties(name)
        info.started = datetime.fromtimestamp(properties["Timestamp"] / 1e6, UTC)
    if info.state not in (MachineState.RUNNING, MachineState.DEGRADED):
        return info
    with contextlib.suppress(DBusError):
        info.addresses = (await machined.addresses(name))[:32]
    with contextlib.suppress(DBusError):
        info.os = (await machined.os_release(name)).get("PRETTY_NAME", "")[:200]
    return info


_MACHINE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")
"""What can be started as systemd-nspawn@NAME: machined also lists folders such as an ext4 pool's lost+found."""


def _is_container_image(name: str) -> bool:
    return _MACHINE_NAME.fullmatch(name) is not None and not name.startswith(records.BASE_PREFIX)


async def machine_names(bus: Bus) -> dict[str, int | None]:
    """Name -> size of its image in bytes, of every machine that has an image or runs."""
    machined = Machined(bus)
    names = {image.name: image.bytes for image in await machined.images() if _is_container_image(image.name)}
    for machine in await machined.machines():
        if machine.machine_class == "container":
            names.setdefault(machine.name, None)
    return names


async def list_machines(bus: Bus) -> list[MachineInfo]:
    """Every container on the host, ours or not; base images and scratch copies are not containers."""
    gate = asyncio.Semaphore(_AT_ONCE)

    async def one(name: str, image_bytes: int | None) -> MachineInfo:
        async with gate:
            return await machine_info(bus, name, image_bytes=image_bytes)

    names = await machine_names(bus)
    return list(await asyncio.gather(*(one(name, size) for name, size in sorted(names.items()))))


def list_images() -> list[ImageInfo]:
    """Base images that stand on this host."""
    return records.images()


# --- metrics --------------------------------------------------------------------------------------------------------


class MetricsReader:
    """Samples running containers; remembers where a machine's counters are for as long as it runs."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._places: dict[str, tuple[str, tuple[str, ...]]] = {}

    async def sample(self) -> dict[str, Metrics]:
        """Name -> counters of every running container."""
        running = [m.name for m in await Machined(self._bus).machines() if m.machine_class == "container"]
        self._places = {name: place for name, place in self._places.items() if name in running}
        found: dict[str, Metrics] = {}
        for name in running:
            with contextlib.suppress(DBusError):
                found[name] = await self.one(name)
            await asyncio.sleep(0)  # hundreds of them must not hold up a terminal
        return found

    async def one(self, name: str) -> Metrics:
        """Counters of one machine. Raises NoSuchMachine, NoSuchUnit."""
        group, interfaces = await self._place(name)
        metrics = cgroups.read(group)
        # What the host receives on its end of the veth pair is what the container sent.
        sent, received = _interface_bytes(interfaces, "rx_bytes"), _interface_bytes(interfaces, "tx_bytes")
        metrics.net_tx_bytes, metrics.net_rx_bytes = sent, received
        return metrics

    async def _place(self, name: str) -> tuple[str, tuple[str, ...]]:
        place = self._places.get(name)
        if place is None:
            properties = await Machined(self._bus).properties(name)
            group = await Systemd(self._bus).service_property(properties["Unit"], "ControlGroup")
            place = group, tuple(_interface_names(properties.get("NetworkInterfaces", [])))
            if place[1]:
                self._places[name] = place
        return place

    def forget(self, name: str) -> None:
        """It stopped or was started anew."""
        self._places.pop(name, None)


def _interface_names(indexes: list[int]) -> list[str]:
    names = []
    for index in indexes:
        with contextlib.suppress(OSError):
            names.append(socket.if_indextoname(index))
    return names


def _interface_bytes(interfaces: tuple[str, ...], counter: str) -> int | None:
    values = []
    for name in interfaces:
        with contextlib.suppress(OSError, ValueError):
            values.append(int(Path(f"/sys/class/net/{name}/statistics/{counter}").read_text()))
    return sum(values) if values else None


# --- the host -------------------------------------------------------------------------------------------------------


def pool_fs() -> str:
    """File system type under /var/lib/machines: that of the longest mount point above it."""
    best, kind = "", "unknown"
    target = str(paths.MACHINES)
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        left, _, right = line.partition(" - ")
        point = left.split(" ")[4]
        inside = target == point or target.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(best):
            best, kind = point, right.split(" ")[0]
    return kind


def pool_space() -> tuple[int, int]:
    """(total, free) bytes of the file system under /var/lib/machines."""
    place = paths.MACHINES if paths.MACHINES.exists() else paths.MACHINES.parent
    stat = os.statvfs(place)
    return stat.f_blocks * stat.f_frsize, stat.f_bavail * stat.f_frsize


def _meminfo() -> dict[str, int]:
    rows = (line.split() for line in Path("/proc/meminfo").read_text().splitlines())
    return {row[0].rstrip(":"): int(row[1]) * 1024 for row in rows}


def _proc_stat() -> dict[str, list[str]]:
    rows = (line.split() for line in Path("/proc/stat").read_text().splitlines())
    return {row[0]: row[1:] for row in rows if row}


def host_metrics() -> HostMetrics:
    """Load, CPU time spent (all cores, microseconds), memory and pool in use."""
    memory = _meminfo()
    ticks = [int(word) for word in _proc_stat()["cpu"]]
    idle = ticks[3] + ticks[4]
    busy = sum(ticks[:8]) - idle
    total, free = pool_space()
    return HostMetrics(
        load1=os.getloadavg()[0],
        cpu_usec=busy * 1_000_000 // os.sysconf("SC_CLK_TCK"),
        memory_used_bytes=memory["MemTotal"] - memory.get("MemAvailable", memory["MemFree"]),
        pool_used_bytes=max(total - free, 0),
        pool_free_bytes=free,
    )


def os_name() -> str:
    with contextlib.suppress(OSError):
        return platform.freedesktop_os_release().get("PRETTY_NAME", "Linux")
    return "Linux"


async def host_facts(bus: Bus | None, checks: list[Check] | None = None) -> HostFacts:
    """What this host is. Without a bus, systemd's version stays empty."""
    version: Any = ""
    if bus is not None:
        version = await Systemd(bus).manager_property("Version")
    return HostFacts(
        hostname=socket.gethostname()[:255],
        agent_version=VERSION,
        os=os_name()[:200],
        kernel=platform.release(),
        arch=platform.machine(),
        systemd=str(version)[:100],
        cpus=len(os.sched_getaffinity(0)),
        memory_bytes=_meminfo()["MemTotal"],
        pool_fs=pool_fs(),
        pool_bytes=pool_space()[0],
        boot_time=datetime.fromtimestamp(int(_proc_stat()["btime"][0]), UTC),
        checks=checks or [],
    )
