"""org.freedesktop.systemd1 (org.freedesktop.systemd1(5)): units and jobs of the host's service manager."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from dbus_fast import Variant

from agent.errors import AgentError
from agent.systemd.bus import Bus, NoSuchUnit, Subscription, escape_path

NAME = "org.freedesktop.systemd1"
PATH = "/org/freedesktop/systemd1"
MANAGER = "org.freedesktop.systemd1.Manager"
UNIT = "org.freedesktop.systemd1.Unit"
SERVICE = "org.freedesktop.systemd1.Service"


class JobFailed(AgentError):
    """A systemd job ended otherwise than by success; `result` is timeout, failed, dependency, canceled, …"""

    code = "unit_failed"

    def __init__(self, unit: str, act: str, result: str) -> None:
        super().__init__(f"systemd could not {act} {unit}.", why=f"The unit's job ended with: {result}.")
        self.unit = unit
        self.result = result


def unit_path(unit: str) -> str:
    return f"{PATH}/unit/{escape_path(unit)}"


class Systemd:
    """The service manager."""

    def __init__(self, bus: Bus) -> None:
        self.bus = bus

    async def _call(self, member: str, signature: str = "", body: list[Any] | None = None, **options: Any) -> list[Any]:
        return await self.bus.call(NAME, PATH, MANAGER, member, signature, body, **options)

    async def subscribe(self) -> None:
        """Ask for job and property signals on this connection; asking twice is an error for systemd."""
        if not self.bus.memo.get("systemd1.subscribed"):
            self.bus.memo["systemd1.subscribed"] = True
            await self._call("Subscribe")

    async def start(self, unit: str, *, timeout: float | None = None) -> None:
        """Start and wait until the job is done. Raises JobFailed, TimeoutError (the job goes on then)."""
        await self._job("start", "StartUnit", unit, timeout)

    async def stop(self, unit: str, *, timeout: float | None = None) -> None:
        await self._job("stop", "StopUnit", unit, timeout)

    async def restart(self, unit: str, *, timeout: float | None = None) -> None:
        await self._job("restart", "RestartUnit", unit, timeout)

    async def _job(self, act: str, member: str, unit: str, timeout: float | None) -> None:
        await self.subscribe()
        async with self._jobs_removed() as removed:
            (path,) = await self._call(member, "ss", [unit, "replace"])
            await self._await_job(removed, path, unit, act, timeout)

    def _jobs_removed(self) -> Any:
        return self.bus.subscribe(sender=NAME, interface=MANAGER, member="JobRemoved", path=PATH)

    async def _await_job(self, removed: Subscription, path: str, unit: str, act: str, timeout: float | None) -> None:
        async with asyncio.timeout(timeout):
            async for signal in removed:
                if signal.body[1] == path:
                    break
        result = signal.body[3]
        if result not in ("done", "skipped"):
            raise JobFailed(unit, act, result)

    async def start_transient(self, unit: str, properties: dict[str, Variant]) -> None:
        """StartTransientUnit; returns when the unit's start job is done. Raises Exists if it is loaded already."""
        await self.subscribe()
        async with self._jobs_removed() as removed:
            body = [unit, "fail", [[name, value] for name, value in properties.items()], []]
            (path,) = await self._call("StartTransientUnit", "ssa(sv)a(sa(sv))", body)
            await self._await_job(removed, path, unit, "start", None)

    async def kill(self, unit: str, signal: int, *, whom: str = "all") -> None:
        """Send a signal to a unit's processes; `whom` is main, control or all."""
        await self._call("KillUnit", "ssi", [unit, whom, signal])

    async def reset_failed(self, unit: str) -> None:
        """Forget that a unit failed; one that is not loaded has nothing to forget."""
        try:
            await self._call("ResetFailedUnit", "s", [unit])
        except NoSuchUnit:
            return

    async def unit(self, unit: str) -> dict[str, Any]:
        """Properties of org.freedesktop.systemd1.Unit; a unit that does not exist has LoadState not-found."""
        return await self.bus.get_all(NAME, unit_path(unit), UNIT)

    async def service(self, unit: str) -> dict[str, Any]:
        """Properties of org.freedesktop.systemd1.Service: MainPID, ControlGroup, Result, ExecMainStatus, …"""
        return await self.bus.get_all(NAME, unit_path(unit), SERVICE)

    async def unit_property(self, unit: str, name: str) -> Any:
        return await self.bus.get(NAME, unit_path(unit), UNIT, name)

    async def service_property(self, unit: str, name: str) -> Any:
        return await self.bus.get(NAME, unit_path(unit), SERVICE, name)

    async def manager_property(self, name: str) -> Any:
        return await self.bus.get(NAME, PATH, MANAGER, name)

    async def set_properties(self, unit: str, properties: dict[str, Variant], *, runtime: bool = False) -> None:
        """SetUnitProperties, for ever unless `runtime`."""
        pairs = [[name, value] for name, value in properties.items()]
        await self._call("SetUnitProperties", "sba(sv)", [unit, runtime, pairs])

    async def list_units(self, pattern: str) -> list[tuple[str, str, str]]:
        """(name, ActiveState, SubState) of loaded units whose name matches a glob."""
        (rows,) = await self._call("ListUnitsByPatterns", "asas", [[], [pattern]])
        return [(row[0], row[3], row[4]) for row in rows]

    async def enable(self, units: list[str]) -> None:
        """EnableUnitFiles; takes effect at the next boot, so no reload is needed."""
        await self._call("EnableUnitFiles", "asbb", [units, False, True])

    async def disable(self, units: list[str]) -> None:
        await self._call("DisableUnitFiles", "asb", [units, False])

    async def reload(self) -> None:
        """Daemon-reload: costs 100 ms and more, so only where a loaded unit's files changed."""
        await self._call("Reload", timeout=120)

    @asynccontextmanager
    async def changes(self, unit: str) -> AsyncIterator[Subscription]:
        """PropertiesChanged signals of one unit."""
        await self.subscribe()
        async with self.bus.subscribe(
            sender=NAME,
            interface="org.freedesktop.DBus.Properties",
            member="PropertiesChanged",
            path=unit_path(unit),
        ) as subscription:
            yield subscription
