"""Terminals over a local pseudo-terminal: typing, pasting, resizing, leaving, coming back, and every way to end."""

from __future__ import annotations

import asyncio
import base64
import fcntl
import os
import struct
import termios
import threading
import time
import tty
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID, uuid4

import pytest
from redis.asyncio import Redis

from agent.live import sessions as sessions_module
from agent.live import terminal as terminal_module
from agent.live.dispatch import Dispatch
from agent.live.sessions import CLOSED_BY_VIEWER, CONTAINER_STOPPED, NO_LEASE, UNKNOWN, Sessions
from agent.live.verify import RefusedRequest
from agent.systemd.bus import DBusError, NoSuchMachine
from contract import keys
from contract.live import INPUT_MAX, MachineState, SessionClose, TerminalInput, TerminalOpen, TerminalResize
from tests.agent.live.live_fakes import FakeHost, Viewer


class Desk:
    """A dispatch with one open terminal, and its viewer."""

    def __init__(self, redis: Redis, host_id: UUID, host: FakeHost) -> None:
        self.redis, self.host_id, self.host = redis, host_id, host
        self.sessions = Sessions(redis, host_id)
        self.dispatch = Dispatch(sessions=self.sessions, host=host, jobs=None, reporter=None)  # type: ignore[arg-type]
        self.session = uuid4()
        self.viewer = Viewer(redis, host_id, self.session)
        self.seq = 0

    async def lease(self, seconds: int = 60) -> None:
        await self.redis.set(keys.lease(self.host_id, self.session), 1, ex=seconds)

    async def open(self, **options: Any) -> int:
        """The slave's descriptor: what a shell would read and write."""
        await self.lease()
        self.dispatch(TerminalOpen(session=self.session, name="web1", **options))
        await until(lambda: bool(self.host.slaves))
        return self.host.slaves[-1]

    def type(self, data: bytes) -> None:
        self.seq += 1
        self.dispatch(TerminalInput(session=self.session, seq=self.seq, data=base64.b64encode(data).decode()))

    async def ended(self) -> str:
        await self.viewer.until(lambda viewer: viewer.closed is not None)
        return self.viewer.closed or ""


async def until(condition: Callable[[], bool], limit_s: float = 10) -> None:
    async with asyncio.timeout(limit_s):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.002)


@pytest.fixture
async def desk(
    redis: Redis, host_id: UUID, fake_host: FakeHost, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Desk]:
    monkeypatch.setattr(sessions_module, "LEASE_CHECK_S", 0.05)
    monkeypatch.setattr(sessions_module, "GRACE_S", 0.1)
    stopped: list[tuple[str, str]] = []

    async def stop_unit(name: str, unit: str) -> None:
        stopped.append((name, unit))

    async def kill_unit(name: str, unit: str) -> None:
        stopped.append((name, f"kill {unit}"))
        for slave in fake_host.slaves:
            os.close(slave)
        fake_host.slaves.clear()

    monkeypatch.setattr(terminal_module, "stop_unit", stop_unit)
    monkeypatch.setattr(terminal_module, "kill_unit", kill_unit)
    monkeypatch.setattr(terminal_module, "POLITE_S", 0.1)
    found = Desk(redis, host_id, fake_host)
    found.stopped = stopped  # type: ignore[attr-defined]
    async with keeping(found.sessions):
        yield found
        await found.sessions.stop_all()


@asynccontextmanager
async def keeping(sessions: Sessions) -> AsyncIterator[None]:
    task = asyncio.create_task(sessions.keep())
    yield
    task.cancel()


async def test_what_the_shell_writes_is_seen_and_what_is_typed_is_read(desk: Desk) -> None:
    slave = await desk.open()
    os.write(slave, b"prompt$ ")
    await desk.viewer.until(lambda viewer: b"prompt$ " in viewer.data)
    desk.type(b"ls\n")
    assert await asyncio.to_thread(os.read, slave, 100) == b"ls\n"


async def test_output_and_keystrokes_are_quick(desk: Desk) -> None:
    slave = await desk.open()
    tty.setraw(slave)
    took = []
    for _ in range(30):
        await asyncio.sleep(0.01)
        began = time.perf_counter()
        seen = len(desk.viewer.outs)
        os.write(slave, b"x")
        await desk.viewer.until(lambda viewer, seen=seen: len(viewer.outs) > seen)  # type: ignore[misc]
        took.append(time.perf_counter() - began)
    assert sorted(took)[15] < 0.25, "an idle terminal must show output at once"


async def test_input_before_the_shell_is_there_waits_for_it(desk: Desk) -> None:
    await desk.lease()
    desk.dispatch(TerminalOpen(session=desk.session, name="web1"))
    desk.type(b"early\n")
    await until(lambda: bool(desk.host.slaves))
    os.write(desk.host.slaves[0], b"$ ")
    assert await asyncio.to_thread(os.read, desk.host.slaves[0], 100) == b"early\n"
    desk.type(b"later\n")
    assert await asyncio.to_thread(os.read, desk.host.slaves[0], 100) == b"later\n"


async def test_input_reaches_a_silent_shell_too(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(terminal_module, "SILENT_S", 0.1)
    slave = await desk.open()
    desk.type(b"early\n")
    assert await asyncio.to_thread(os.read, slave, 100) == b"early\n"


async def test_a_paste_of_a_megabyte_arrives_whole(desk: Desk) -> None:
    slave = await desk.open()
    tty.setraw(slave)
    pasted = os.urandom(1024 * 1024)
    received = bytearray()

    def program() -> None:
        while len(received) < len(pasted):
            received.extend(os.read(slave, 4096))
            time.sleep(0.0001)

    reader = threading.Thread(target=program)
    reader.start()
    for start in range(0, len(pasted), INPUT_MAX // 2):
        desk.type(pasted[start : start + INPUT_MAX // 2])
    await until(lambda: not reader.is_alive(), 30)
    assert received == pasted


async def test_a_program_that_never_reads_does_not_eat_memory(desk: Desk) -> None:
    slave = await desk.open()
    tty.setraw(slave)
    for _ in range(200):
        desk.type(b"x" * (INPUT_MAX // 2))
    await desk.viewer.until(lambda viewer: b"does not read" in viewer.data)
    assert desk.viewer.data.count(b"does not read") == 1


async def test_megabytes_of_output_come_whole_and_in_large_pieces(desk: Desk) -> None:
    slave = await desk.open()
    tty.setraw(slave)
    text = b"".join(b"%07d\n" % number for number in range(150_000))
    writer = threading.Thread(
        target=lambda: [os.write(slave, text[at : at + 4096]) for at in range(0, len(text), 4096)]
    )
    writer.start()
    await desk.viewer.until(lambda viewer: len(viewer.data) >= len(text), 30)
    assert desk.viewer.data == text
    assert len(desk.viewer.outs) < len(text) / 4000, "pieces are too small"


async def test_resize_reaches_the_programs(desk: Desk) -> None:
    slave = await desk.open(cols=100, rows=30)

    def size() -> tuple[int, ...]:
        return struct.unpack("HHHH", fcntl.ioctl(slave, termios.TIOCGWINSZ, b"\0" * 8))[:2]

    await until(lambda: size() == (30, 100))
    desk.dispatch(TerminalResize(session=desk.session, cols=132, rows=50))
    assert size() == (50, 132)


async def test_a_reload_replays_and_goes_on_with_the_same_shell(desk: Desk) -> None:
    slave = await desk.open()
    os.write(slave, b"before ")
    await desk.viewer.until(lambda viewer: b"before" in viewer.data)
    desk.dispatch(TerminalOpen(session=desk.session, name="web1", cols=90, rows=20))
    os.write(slave, b"after")
    again = Viewer(desk.redis, desk.host_id, desk.session)
    await again.until(lambda viewer: viewer.data == b"before after")
    assert len(desk.host.slaves) == 1


async def test_repeated_input_is_refused(desk: Desk) -> None:
    await desk.open()
    desk.type(b"a")
    desk.seq = 0
    with pytest.raises(RefusedRequest) as caught:
        desk.type(b"a")
    assert caught.value.code == "replayed"


async def test_the_shells_end_is_told(desk: Desk) -> None:
    slave = await desk.open()
    os.write(slave, b"logout\r\n")
    os.close(slave)
    assert await desk.ended() == "The shell ended."
    assert b"logout" in desk.viewer.data
    assert await desk.redis.smembers(keys.live_open(desk.host_id)) == set()


async def test_a_shell_that_never_began_is_told(desk: Desk) -> None:
    os.close(await desk.open(user="nobody"))
    assert "nobody" in await desk.ended()


async def test_without_a_lease_the_shell_is_ended(desk: Desk) -> None:
    await desk.open()
    await desk.redis.delete(keys.lease(desk.host_id, desk.session))
    assert await desk.ended() == NO_LEASE
    (stopped, killed) = desk.stopped  # type: ignore[attr-defined]
    assert stopped[0] == "web1"
    assert stopped[1].startswith("container-shell@")
    assert killed == ("web1", f"kill {stopped[1]}"), "this shell obeyed no request"


async def test_a_stopped_container_ends_its_terminals_alone(desk: Desk) -> None:
    await desk.open()
    desk.sessions.container_stopped("other")
    await asyncio.sleep(0.2)
    assert len(desk.sessions) == 1
    desk.sessions.container_stopped("web1")
    assert await desk.ended() == CONTAINER_STOPPED


async def test_an_end_of_output_while_the_container_stops_is_called_so(desk: Desk) -> None:
    slave = await desk.open()
    desk.host.machine_state = MachineState.STOPPING
    os.close(slave)
    assert await desk.ended() == CONTAINER_STOPPED


async def test_closing_right_after_opening_leaves_nothing(desk: Desk) -> None:
    await desk.lease()
    desk.dispatch(TerminalOpen(session=desk.session, name="web1"))
    desk.dispatch(SessionClose(session=desk.session))
    assert await desk.ended() == CLOSED_BY_VIEWER
    await until(lambda: len(desk.sessions) == 0)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (NoSuchMachine("x", "No machine"), "not running"),
        (DBusError("x", "Failed to get shell: no dbus"), "no dbus"),
        (TimeoutError(), "did not answer"),
        (ZeroDivisionError(), "did not expect"),
    ],
)
async def test_a_terminal_that_cannot_be_opened_says_why(desk: Desk, error: Exception, words: str) -> None:
    desk.host.error = error
    await desk.lease()
    desk.dispatch(TerminalOpen(session=desk.session, name="web1"))
    assert words in await desk.ended()


async def test_typing_into_a_lost_session_is_answered_once(desk: Desk) -> None:
    for _ in range(5):
        desk.type(b"hello?")
    assert await desk.ended() == UNKNOWN
    assert len(desk.viewer.outs) == 1


async def test_sessions_of_a_crashed_service_are_closed(desk: Desk) -> None:
    await desk.redis.sadd(keys.live_open(desk.host_id), str(desk.session))
    await desk.sessions.close_orphans()
    assert "restarted" in await desk.ended()
    assert await desk.redis.exists(keys.live_open(desk.host_id)) == 0


async def test_a_host_has_a_limit_of_sessions(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions_module, "SESSIONS_MAX", 0)
    desk.dispatch(TerminalOpen(session=desk.session, name="web1"))
    assert "limit" in await desk.ended()
