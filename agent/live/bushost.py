"""The system bus, kept: one connection for the service, made anew when it was lost."""

from __future__ import annotations

import asyncio

from agent.machines import machine_state
from agent.systemd.bus import Bus
from agent.systemd.machine1 import Machined
from contract.live import MachineState

TERMINAL_ENV = ["TERM=xterm-256color", "COLORTERM=truecolor"]


class BusHost:
    """agent.live.host.Host on the real bus."""

    def __init__(self) -> None:
        self._bus: Bus | None = None
        self._lock = asyncio.Lock()

    async def bus(self) -> Bus:
        """A connection that is up. Raises BusGone."""
        async with self._lock:
            if self._bus is None or not self._bus.connected:
                await self._drop()
                self._bus = await Bus.connect()
            return self._bus

    async def close(self) -> None:
        async with self._lock:
            await self._drop()

    async def _drop(self) -> None:
        bus, self._bus = self._bus, None
        if bus is not None:
            await bus.close()

    async def open_shell(self, name: str, user: str) -> int:
        return await Machined(await self.bus()).open_shell(name, user, "", [], TERMINAL_ENV)

    async def state(self, name: str) -> MachineState:
        return await machine_state(await self.bus(), name)
