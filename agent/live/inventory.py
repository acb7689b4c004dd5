"""Keeps a picture of every container on the host, and tells the portal of each change.

Asking a container's own systemd how it is costs a process. So only what changed, or is on its way somewhere, is
asked at once; of those that run quietly a few are asked each time, the longest unasked first.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from agent import machines, paths
from agent.live.bushost import BusHost
from agent.live.state import StateStream
from agent.systemd.bus import Bus, DBusError
from contract.live import INVENTORY_S, Check, InventoryReport, MachineChanged, MachineInfo, MachineState

log = logging.getLogger(__name__)

DEBOUNCE_S = 0.05
SPACING_S = 1.0
"""Whole inventories follow each other no closer than this; single changes are not held back."""
QUIET_ASKS = 40
AT_ONCE = 4
LOOK_S = 1.0
SETTLE_S = 60.0
"""For so long after its start a container without an address is looked at again and again."""

_QUIET = frozenset({MachineState.RUNNING, MachineState.DEGRADED})
_MOVING = frozenset({MachineState.STARTING, MachineState.STOPPING})


class Inventory:
    """`touch` says that something happened to a machine, `request` that a whole report is wanted."""

    def __init__(self, host: BusHost) -> None:
        self._host = host
        self._checks: list[Check] = []
        self.checkup_wanted = asyncio.Event()
        self._infos: dict[str, MachineInfo] = {}
        self._asked: dict[str, float] = {}
        self._dirty: set[str] = set()
        self._wake = asyncio.Event()
        self._report_at: float | None = None
        self._full_at = 0.0
        self._reported = 0.0
        self._looked_at: tuple[int, ...] = ()

    def touch(self, *names: str) -> None:
        self._dirty.update(names)
        self._wake.set()

    def request(self) -> None:
        """Look at everything and report, soon."""
        self.checkup_wanted.set()
        self.refresh()

    def refresh(self) -> None:
        """Look at every container and report, soon."""
        self._full_at = 0.0
        self._wake.set()

    def examined(self, checks: list[Check]) -> None:
        """What the doctor found."""
        if checks != self._checks:
            self._checks = checks
            self.report_soon()

    def report_soon(self) -> None:
        """A whole report of what is known, debounced."""
        if self._report_at is None:
            now = time.monotonic()
            self._report_at = max(now + DEBOUNCE_S, self._reported + SPACING_S)
            self._wake.set()

    async def run(self, stream: StateStream) -> None:
        """Until cancelled."""
        while True:
            await self._wait()
            try:
                await self._round(stream)
            except (DBusError, TimeoutError, OSError) as error:
                log.warning("containers cannot be looked at: %s", error)
                await asyncio.sleep(LOOK_S)

    async def _wait(self) -> None:
        """Until something is to do."""
        now = time.monotonic()
        dues = [now + LOOK_S, self._full_at, *([self._report_at] if self._report_at is not None else [])]
        with suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, min(dues) - now)):
                await self._wake.wait()
        self._wake.clear()

    async def _round(self, stream: StateStream) -> None:
        bus = await self._host.bus()
        self._look_at_folders()
        now = time.monotonic()
        full = now >= self._full_at
        dirty, self._dirty = self._dirty | self._unsettled(now), set()
        if full or dirty:
            names = await machines.machine_names(bus)
            gone = self._infos.keys() - names.keys()
            new = names.keys() - self._infos.keys()
            chosen = self._full_round(names) if full else dirty & names.keys() | new
            await self._look(bus, names, chosen | gone, stream)
        if full:
            self._full_at = now + INVENTORY_S
        if full or (self._report_at is not None and now >= self._report_at):
            await self._report(bus, stream)

    def _look_at_folders(self) -> None:
        """machined has no signal for images that come and go, nor systemd one for links made by hand."""
        seen = tuple(_changed_at(folder) for folder in (paths.MACHINES, paths.MACHINES_WANTS))
        if seen != self._looked_at:
            self._looked_at = seen
            self.touch(*self._enabled_otherwise(), "")

    def _enabled_otherwise(self) -> list[str]:
        return [name for name, info in self._infos.items() if machines.is_enabled(name) != info.enabled]

    def check_enabled(self) -> None:
        """Unit files changed: somebody switched a start at boot on or off."""
        self.touch(*self._enabled_otherwise())

    def _unsettled(self, now: float) -> set[str]:
        """Machines on their way somewhere, each looked at about once a second."""
        return {
            name
            for name, info in self._infos.items()
            if not _settled(info) and now - self._asked.get(name, 0.0) >= LOOK_S * 0.9
        }

    def _full_round(self, names: Iterable[str]) -> set[str]:
        quiet = [name for name in names if name in self._infos and self._infos[name].state in _QUIET]
        quiet.sort(key=lambda name: self._asked.get(name, 0.0))
        return set(names) - set(quiet[QUIET_ASKS:])

    async def _look(self, bus: Bus, names: dict[str, int | None], chosen: Iterable[str], stream: StateStream) -> None:
        gate = asyncio.Semaphore(AT_ONCE)

        async def one(name: str) -> None:
            async with gate:
                known = name in names
                info = await machines.machine_info(bus, name, image_bytes=names[name]) if known else None
                await self._take(name, info, stream)

        await asyncio.gather(*(one(name) for name in sorted(chosen)))

    async def _take(self, name: str, info: MachineInfo | None, stream: StateStream) -> None:
        self._asked[name] = time.monotonic()
        if info == self._infos.get(name):
            return
        if info is None:
            del self._infos[name], self._asked[name]
        else:
            self._infos[name] = info
        await stream.send(MachineChanged(at=datetime.now(UTC), name=name, info=info))
        self.report_soon()

    async def _report(self, bus: Bus, stream: StateStream) -> None:
        self._report_at, self._reported = None, time.monotonic()
        facts = await machines.host_facts(bus, self._checks)
        found = [self._infos[name] for name in sorted(self._infos)]
        at = datetime.now(UTC)
        await stream.send(InventoryReport(at=at, facts=facts, machines=found, images=machines.list_images()))


def _settled(info: MachineInfo) -> bool:
    if info.state in _MOVING:
        return False
    if info.state not in _QUIET or info.started is None:
        return True
    reachable = any(not address.startswith("fe80:") for address in info.addresses)
    return reachable or (datetime.now(UTC) - info.started).total_seconds() > SETTLE_S


def _changed_at(folder: Path) -> int:
    try:
        return folder.stat().st_mtime_ns
    except OSError:
        return 0
