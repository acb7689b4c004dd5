"""What sessions ask of the host: a shell in a container, and how the container is."""

from __future__ import annotations

from typing import Protocol

from contract.live import MachineState


class Host(Protocol):
    """The bus behind it reconnects by itself; calls raise agent.systemd.bus.DBusError."""

    async def open_shell(self, name: str, user: str) -> int:
        """A pseudo-terminal with a login shell; the caller owns the descriptor."""

    async def state(self, name: str) -> MachineState: ...


UP = frozenset({MachineState.STARTING, MachineState.RUNNING, MachineState.DEGRADED})
"""States in which the container's own systemd can be asked for something."""
