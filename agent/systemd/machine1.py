"""org.freedesktop.machine1 (org.freedesktop.machine1(5)): running machines, and images in /var/lib/machines."""

from __future__ import annotations

import asyncio
import ipaddress
import os
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from agent.systemd.bus import Bus, NoSuchImage, NoSuchMachine, Subscription, escape_path

NAME = "org.freedesktop.machine1"
PATH = "/org/freedesktop/machine1"
MANAGER = "org.freedesktop.machine1.Manager"
MACHINE = "org.freedesktop.machine1.Machine"

SIG_POWEROFF = signal.SIGRTMIN + 4
"""systemd as PID 1 powers off cleanly on it (systemd(1), Signals)."""
SIG_REBOOT = signal.SIGINT


@dataclass(frozen=True)
class RunningMachine:
    name: str
    machine_class: str
    service: str


@dataclass(frozen=True)
class Image:
    """An image as machined lists it. `bytes` is None where it cannot be known (no btrfs quota)."""

    name: str
    type: str
    read_only: bool
    bytes: int | None


@dataclass(frozen=True)
class MachineEvent:
    """A machine came or went."""

    name: str
    new: bool


def machine_path(name: str) -> str:
    return f"{PATH}/machine/{escape_path(name)}"


class Machined:
    """The machine manager."""

    def __init__(self, bus: Bus) -> None:
        self.bus = bus

    async def _call(self, member: str, signature: str = "", body: list[Any] | None = None, **options: Any) -> list[Any]:
        return await self.bus.call(NAME, PATH, MANAGER, member, signature, body, **options)

    async def machines(self) -> list[RunningMachine]:
        """Running machines, containers and others, without the host's own entry."""
        (rows,) = await self._call("ListMachines")
        return [RunningMachine(*row[:3]) for row in rows if row[0] != ".host"]

    async def is_running(self, name: str) -> bool:
        """Whether machined knows it. Stays true for a moment after its unit stopped."""
        try:
            await self._call("GetMachine", "s", [name])
        except NoSuchMachine:
            return False
        return True

    async def properties(self, name: str) -> dict[str, Any]:
        """Leader, Unit, State, NetworkInterfaces, Timestamp (microseconds), … Raises NoSuchMachine."""
        (path,) = await self._call("GetMachine", "s", [name])
        return await self.bus.get_all(NAME, path, MACHINE)

    async def images(self) -> list[Image]:
        (rows,) = await self._call("ListImages")
        unknown = 2**64 - 1
        return [
            Image(row[0], row[1], bool(row[2]), None if row[5] == unknown else row[5])
            for row in rows
            if row[0] != ".host"
        ]

    async def image_exists(self, name: str) -> bool:
        try:
            await self._call("GetImage", "s", [name])
        except NoSuchImage:
            return False
        return True

    async def clone_image(self, source: str, target: str, *, read_only: bool = False) -> None:
        """A snapshot on btrfs, a full copy elsewhere, however long it takes. Raises Exists, NoSuchImage, NoSpace."""
        await self._call("CloneImage", "ssb", [source, target, read_only], timeout=None)

    async def remove_image(self, name: str) -> None:
        """Raises NoSuchImage; Busy while it runs."""
        await self._call("RemoveImage", "s", [name], timeout=None)

    async def rename_image(self, name: str, new: str) -> None:
        await self._call("RenameImage", "ss", [name, new], timeout=None)

    async def mark_read_only(self, name: str, read_only: bool = True) -> None:
        await self._call("MarkImageReadOnly", "sb", [name, read_only])

    async def kill(self, name: str, number: int, *, whom: str = "leader") -> None:
        """Send a signal to the machine's PID 1 (`leader`) or to all of it. Raises NoSuchMachine."""
        await self._call("KillMachine", "ssi", [name, whom, number])

    async def power_off(self, name: str) -> None:
        await self.kill(name, SIG_POWEROFF)

    async def terminate(self, name: str) -> None:
        """Hard stop."""
        await self._call("TerminateMachine", "s", [name])

    async def addresses(self, name: str) -> list[str]:
        """IP addresses; link-local IPv6 last. Empty while the network is not up."""
        (rows,) = await self._call("GetMachineAddresses", "s", [name])
        found = [
            str(ipaddress.ip_address(bytes(raw))) for family, raw in rows if family in (socket.AF_INET, socket.AF_INET6)
        ]
        return sorted(found, key=lambda text: (ipaddress.ip_address(text).is_link_local, ":" in text))

    async def os_release(self, name: str) -> dict[str, str]:
        (fields,) = await self._call("GetMachineOSRelease", "s", [name])
        return dict(fields)

    async def image_os_release(self, name: str) -> dict[str, str]:
        (fields,) = await self._call("GetImageOSRelease", "s", [name])
        return dict(fields)

    async def open_shell(
        self, name: str, user: str = "root", path: str = "", argv: list[str] | None = None, env: list[str] | None = None
    ) -> int:
        """A login shell (or a program) on a new pseudo-terminal in the machine; the caller owns the descriptor."""
        reply = await self.bus.call_raw(
            NAME, PATH, MANAGER, "OpenMachineShell", "sssasas", [name, user, path, argv or [], env or []]
        )
        descriptors = list(reply.unix_fds or [])
        for extra in descriptors[1:]:
            os.close(extra)
        return int(descriptors[0])

    @asynccontextmanager
    async def removals(self) -> AsyncIterator[Subscription]:
        """MachineRemoved signals; begin before the act that removes."""
        async with self.bus.subscribe(sender=NAME, interface=MANAGER, member="MachineRemoved", path=PATH) as removed:
            yield removed

    async def await_removed(self, removed: Subscription, name: str, timeout: float | None) -> None:
        """Wait until machined has let go of the name. Raises TimeoutError after `timeout` seconds."""
        async with asyncio.timeout(timeout):
            while await self.is_running(name):
                async for signal_ in removed:
                    if signal_.body[0] == name:
                        break

    async def events(self) -> AsyncIterator[MachineEvent]:
        """MachineNew and MachineRemoved as they come, for ever. Raises BusGone when the bus goes away."""
        options = {"sender": NAME, "interface": MANAGER, "path": PATH}
        async with (
            self.bus.subscribe(member="MachineNew", **options) as new,
            self.bus.subscribe(member="MachineRemoved", **options) as removed,
        ):
            queue: asyncio.Queue[MachineEvent | BaseException] = asyncio.Queue()
            pumps = [
                asyncio.ensure_future(_pump(new, queue, True)),
                asyncio.ensure_future(_pump(removed, queue, False)),
            ]
            try:
                while True:
                    event = await queue.get()
                    if isinstance(event, BaseException):
                        raise event
                    yield event
            finally:
                for pump in pumps:
                    pump.cancel()
                await asyncio.gather(*pumps, return_exceptions=True)


async def _pump(subscription: Subscription, queue: asyncio.Queue[MachineEvent | BaseException], new: bool) -> None:
    try:
        async for signal_ in subscription:
            queue.put_nowait(MachineEvent(signal_.body[0], new))
    except Exception as error:  # handed on to whoever iterates
        queue.put_nowait(error)
