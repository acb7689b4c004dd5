"""The system bus without introspection: calls, properties, signals, and errors of our own.

One connection belongs to one event loop and one process; make it anew after a fork.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from dbus_fast import BusType, Message, MessageType, Variant
from dbus_fast.aio import MessageBus

from agent.errors import AgentError

SHORT_S = 30.0
"""Limit of calls that answer at once. Clone, copy and remove answer only when done: give them None."""

_DBUS = "org.freedesktop.DBus"
_PROPERTIES = "org.freedesktop.DBus.Properties"


class DBusError(AgentError):
    """The other side answered with an error; `name` is its D-Bus name."""

    code = "dbus_error"

    def __init__(self, name: str, message: str) -> None:
        super().__init__(f"systemd answered: {message or name}", why=name)
        self.name = name
        self.message = message


class NoSuchUnit(DBusError):
    code = "not_found"


class NoSuchMachine(DBusError):
    code = "not_found"


class NoSuchImage(DBusError):
    code = "not_found"


class Exists(DBusError):
    code = "name_taken"


class Busy(DBusError):
    """The image or machine is in use."""

    code = "busy"


class NoSpace(DBusError):
    code = "disk_full"
    hint = "Free space under /var/lib/machines on the host, then retry."


class AccessDenied(DBusError):
    code = "access_denied"


class BusGone(DBusError):
    """No bus, or it went away: the host is going down or is broken."""

    code = "bus_gone"


_ERRORS: dict[str, type[DBusError]] = {
    "org.freedesktop.systemd1.NoSuchUnit": NoSuchUnit,
    "org.freedesktop.systemd1.UnitExists": Exists,
    "org.freedesktop.machine1.NoSuchMachine": NoSuchMachine,
    "org.freedesktop.machine1.NoSuchImage": NoSuchImage,
    "org.freedesktop.machine1.NoMachineForPID": NoSuchMachine,
    "org.freedesktop.DBus.Error.FileExists": Exists,
    "System.Error.EEXIST": Exists,
    "System.Error.EBUSY": Busy,
    "System.Error.ENOSPC": NoSpace,
    "System.Error.EDQUOT": NoSpace,
    "org.freedesktop.DBus.Error.AccessDenied": AccessDenied,
    "org.freedesktop.DBus.Error.NoReply": BusGone,
    "org.freedesktop.DBus.Error.ServiceUnknown": BusGone,
}


def error_for(name: str, message: str) -> DBusError:
    """Our error class of a D-Bus error name."""
    return _ERRORS.get(name, DBusError)(name, message)


@dataclass(frozen=True)
class Signal:
    path: str
    interface: str
    member: str
    body: list[Any]


@dataclass
class Subscription:
    """Signals that matched, in order. Begin it before the act whose signal you await."""

    matches: Callable[[Signal], bool]
    queue: asyncio.Queue[Signal | None] = field(default_factory=asyncio.Queue)

    async def next(self) -> Signal:
        """The next one. Raises BusGone when the bus went away."""
        signal = await self.queue.get()
        if signal is None:
            raise BusGone("org.freedesktop.DBus.Error.Disconnected", "The system bus went away.")
        return signal

    async def __aiter__(self) -> AsyncIterator[Signal]:
        while True:
            yield await self.next()


class Bus:
    """A connection to the system bus."""

    def __init__(self, bus: MessageBus) -> None:
        self._bus = bus
        self._subscriptions: list[Subscription] = []
        self._rules: dict[str, int] = {}
        self._watch = asyncio.ensure_future(self._watch_end())
        bus.add_message_handler(self._on_message)
        self.memo: dict[str, Any] = {}
        """For layers above: what was done once on this connection."""

    @classmethod
    async def connect(cls) -> Bus:
        """Raises BusGone if there is no system bus."""
        try:
            return cls(await MessageBus(bus_type=BusType.SYSTEM, negotiate_unix_fd=True).connect())
        except OSError as error:
            raise BusGone("org.freedesktop.DBus.Error.NoServer", f"No system bus: {error}") from error

    @classmethod
    @asynccontextmanager
    async def session(cls) -> AsyncIterator[Bus]:
        """A connection that is closed at the end."""
        bus = await cls.connect()
        try:
            yield bus
        finally:
            await bus.close()

    @property
    def connected(self) -> bool:
        return bool(self._bus.connected)

    async def close(self) -> None:
        self._watch.cancel()
        self._bus.disconnect()
        await asyncio.gather(self._watch, return_exceptions=True)

    async def call(
        self,
        destination: str,
        path: str,
        interface: str,
        member: str,
        signature: str = "",
        body: list[Any] | None = None,
        *,
        timeout: float | None = SHORT_S,
    ) -> list[Any]:
        """Call and give the reply's body. Raises a DBusError, or TimeoutError after `timeout` seconds."""
        return (await self.call_raw(destination, path, interface, member, signature, body, timeout=timeout)).body

    async def call_raw(
        self,
        destination: str,
        path: str,
        interface: str,
        member: str,
        signature: str = "",
        body: list[Any] | None = None,
        *,
        timeout: float | None = SHORT_S,
    ) -> Message:
        """As `call`, but the whole reply, for those that carry file descriptors (`unix_fds`)."""
        message = Message(
            destination=destination,
            path=path,
            interface=interface,
            member=member,
            signature=signature,
            body=body or [],
        )
        try:
            async with asyncio.timeout(timeout):
                reply = await self._bus.call(message)
        except (OSError, EOFError) as error:
            raise BusGone("org.freedesktop.DBus.Error.Disconnected", str(error)) from error
        if reply is None:
            raise BusGone("org.freedesktop.DBus.Error.Disconnected", f"No answer to {member}.")
        if reply.message_type is MessageType.ERROR:
            text = str(reply.body[0]) if reply.body else ""
            raise error_for(str(reply.error_name), text)
        return reply

    async def get(self, destination: str, path: str, interface: str, name: str) -> Any:
        """One property, unpacked."""
        body = await self.call(destination, path, _PROPERTIES, "Get", "ss", [interface, name])
        return unpack(body[0])

    async def get_all(self, destination: str, path: str, interface: str) -> dict[str, Any]:
        """All properties of an interface, unpacked."""
        body = await self.call(destination, path, _PROPERTIES, "GetAll", "s", [interface])
        return {name: unpack(value) for name, value in body[0].items()}

    @asynccontextmanager
    async def subscribe(
        self, *, sender: str, interface: str, member: str, path: str = ""
    ) -> AsyncIterator[Subscription]:
        """Collect signals while the context lasts. An empty `path` takes every object."""
        rule = f"type='signal',sender='{sender}',interface='{interface}',member='{member}'"
        if path:
            rule += f",path='{path}'"

        def matches(signal: Signal) -> bool:
            return signal.interface == interface and signal.member == member and path in ("", signal.path)

        subscription = Subscription(matches)
        self._subscriptions.append(subscription)
        try:
            await self._add_rule(rule)
            yield subscription
        finally:
            self._subscriptions.remove(subscription)
            await self._drop_rule(rule)

    async def _add_rule(self, rule: str) -> None:
        self._rules[rule] = self._rules.get(rule, 0) + 1
        if self._rules[rule] == 1:
            await self.call(_DBUS, "/org/freedesktop/DBus", _DBUS, "AddMatch", "s", [rule])

    async def _drop_rule(self, rule: str) -> None:
        self._rules[rule] -= 1
        if not self._rules[rule] and self.connected:
            await self.call(_DBUS, "/org/freedesktop/DBus", _DBUS, "RemoveMatch", "s", [rule])

    def _on_message(self, message: Message) -> bool | None:
        if message.message_type is not MessageType.SIGNAL:
            return None
        signal = Signal(message.path or "", message.interface or "", message.member or "", message.body)
        for subscription in self._subscriptions:
            if subscription.matches(signal):
                subscription.queue.put_nowait(signal)
        return None

    async def _watch_end(self) -> None:
        """Wake every waiter when the connection ends, so that none hangs for ever."""
        try:
            await self._bus.wait_for_disconnect()  # type: ignore[no-untyped-call]
        except (OSError, EOFError):
            pass
        finally:
            for subscription in self._subscriptions:
                subscription.queue.put_nowait(None)


def unpack(value: Any) -> Any:
    """Take values out of variants, at every depth."""
    if isinstance(value, Variant):
        return unpack(value.value)
    if isinstance(value, list):
        return [unpack(item) for item in value]
    if isinstance(value, dict):
        return {key: unpack(item) for key, item in value.items()}
    return value


def escape_path(name: str) -> str:
    """A name as a D-Bus object path element (sd_bus_path_encode(3))."""
    if not name:
        return "_"
    return "".join(
        char if (char.isascii() and char.isalpha()) or (char.isdigit() and index) else f"_{ord(char):02x}"
        for index, char in enumerate(name)
    )
