"""Listens to systemd: machines that come and go, units of containers that change, unit files."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable

from agent.live.backoff import Backoff
from agent.live.bushost import BusHost
from agent.live.inventory import Inventory
from agent.systemd import machine1, systemd1
from agent.systemd.bus import Bus, DBusError, Signal, Subscription

log = logging.getLogger(__name__)

_UNIT_PATH = re.compile(rf"{systemd1.PATH}/unit/systemd_2dnspawn_40(?P<name>\w+)_2eservice")
_ESCAPE = re.compile(r"_([0-9a-f]{2})")


def machine_of(path: str) -> str | None:
    """The machine whose unit has this object path (sd_bus_path_encode(3)); None for other units."""
    match = _UNIT_PATH.fullmatch(path)
    if match is None:
        return None
    # The unit name itself escapes what machine names may hold beyond letters and digits: "-" stays "-".
    return _ESCAPE.sub(lambda code: chr(int(code[1], 16)), match["name"])


async def watch(host: BusHost, inventory: Inventory, stopped: Callable[[str], None]) -> None:
    """Until cancelled. `stopped` is told of each machine that is gone."""
    backoff = Backoff()
    while True:
        try:
            await _watch_bus(await host.bus(), inventory, stopped, backoff)
        except* (DBusError, TimeoutError, OSError) as errors:
            log.warning("systemd's signals are not heard: %s", errors.exceptions[0])
        await backoff.wait()


async def _watch_bus(bus: Bus, inventory: Inventory, stopped: Callable[[str], None], backoff: Backoff) -> None:
    """Until the bus goes away."""

    def came(signal: Signal) -> None:
        inventory.touch(signal.body[0])
        inventory.report_soon()

    def went(signal: Signal) -> None:
        stopped(signal.body[0])
        came(signal)

    def unit_changed(signal: Signal) -> None:
        name = machine_of(signal.path)
        if name and signal.body[0] == systemd1.UNIT and "ActiveState" in signal.body[1]:
            inventory.touch(name)

    def files_changed(_: Signal) -> None:
        inventory.check_enabled()

    machined = {"sender": machine1.NAME, "interface": machine1.MANAGER, "path": machine1.PATH}
    systemd = {"sender": systemd1.NAME, "interface": systemd1.MANAGER, "path": systemd1.PATH}
    async with (
        bus.subscribe(member="MachineNew", **machined) as new,
        bus.subscribe(member="MachineRemoved", **machined) as removed,
        bus.subscribe(member="UnitFilesChanged", **systemd) as files,
        bus.subscribe(
            sender=systemd1.NAME, interface="org.freedesktop.DBus.Properties", member="PropertiesChanged"
        ) as units,
    ):
        await systemd1.Systemd(bus).subscribe()
        backoff.reset()
        inventory.refresh()
        async with asyncio.TaskGroup() as group:
            for subscription, act in ((new, came), (removed, went), (files, files_changed), (units, unit_changed)):
                group.create_task(_each(subscription, act))


async def _each(subscription: Subscription, act: Callable[[Signal], None]) -> None:
    async for signal in subscription:
        act(signal)
