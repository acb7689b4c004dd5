"""The live service on a real host: its container's journal, a shell in it, its state, and clean ends."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import AsyncIterator, Callable, Iterator
from uuid import UUID, uuid4

import pytest
from redis.asyncio import Redis

import lab
from contract import keys
from contract.live import (
    STATE,
    Heartbeat,
    InventoryReport,
    JournalFollow,
    JournalSource,
    MachineChanged,
    MachineState,
    SessionClose,
    StateMessage,
    TerminalInput,
    TerminalOpen,
    TerminalResize,
)
from tests.agent.live.live_fakes import Portal, Viewer
from tests.agent.live.live_lab import CONTAINER, LabHost, PublicRedis, wait_for

pytestmark = pytest.mark.e2e
PORT = 17379


@pytest.fixture(scope="module")
def lab_host() -> Iterator[LabHost]:
    found = LabHost(lab.up("agentlive", release="bookworm"))
    found.install()
    found.make_container()
    yield found
    lab.down("agentlive")


@pytest.fixture(scope="module")
def public_redis(lab_host: LabHost) -> Iterator[PublicRedis]:
    server = PublicRedis(lab_host.host.gateway, PORT)
    yield server
    server.stop()


@pytest.fixture
async def redis(public_redis: PublicRedis) -> AsyncIterator[Redis]:
    client = Redis(host=public_redis.address, port=public_redis.port)
    yield client
    await client.aclose()


@pytest.fixture
def service(lab_host: LabHost, public_redis: PublicRedis, portal: Portal) -> Iterator[LabHost]:
    """The container and the service run; afterwards nothing of a session may be left."""
    lab_host.start_container()
    lab_host.start_service(portal, public_redis.port)
    yield lab_host
    lab_host.stop_service()
    assert "Traceback" not in lab_host.service_log()
    wait_for(lambda: lab_host.journalctls() == [], 10, "the end of every journalctl")


class Seat:
    """Somebody in front of the portal: opens sessions and keeps their leases."""

    def __init__(self, redis: Redis, portal: Portal) -> None:
        self.redis, self.portal = redis, portal
        self.seq = 0

    async def _lease(self, session: UUID) -> None:
        await self.redis.set(keys.lease(self.portal.host, session), 1, ex=120)

    async def follow(
        self, *, cursor: str = "", lines: int = 500, source: JournalSource = JournalSource.CONTAINER
    ) -> tuple[UUID, Viewer]:
        session = uuid4()
        await self._lease(session)
        request = JournalFollow(session=session, name=CONTAINER, source=source, cursor=cursor, lines=lines)
        await self.portal.send(self.redis, request)
        return session, Viewer(self.redis, self.portal.host, session)

    async def terminal(self, **options: object) -> tuple[UUID, Viewer]:
        session = uuid4()
        await self._lease(session)
        await self.portal.send(self.redis, TerminalOpen(session=session, name=CONTAINER, **options))  # type: ignore[arg-type]
        return session, Viewer(self.redis, self.portal.host, session)

    async def type(self, session: UUID, text: str) -> None:
        self.seq += 1
        data = base64.b64encode(text.encode()).decode()
        await self.portal.send(self.redis, TerminalInput(session=session, seq=self.seq, data=data))

    async def close(self, session: UUID) -> None:
        await self.portal.send(self.redis, SessionClose(session=session))

    async def unlease(self, session: UUID) -> None:
        await self.redis.delete(keys.lease(self.portal.host, session))


@pytest.fixture
def seat(redis: Redis, portal: Portal) -> Seat:
    return Seat(redis, portal)


async def off_loop(work: Callable[..., object], *args: object) -> None:
    await asyncio.to_thread(work, *args)


def numbers(viewer: Viewer, mark: str) -> list[int]:
    return [int(message.split()[1]) for message in viewer.messages if message.startswith(f"{mark} ")]


def logger_script(mark: str, first: int, last: int) -> str:
    return f"seq -f '{mark} %g' {first} {last} | systemd-cat -t burst"


# --- journals -------------------------------------------------------------------------------------------------------


async def test_a_containers_journal_comes_live_and_resumes_without_gap_or_repeat(service: LabHost, seat: Seat) -> None:
    session, viewer = await seat.follow(lines=50)
    await viewer.until(lambda viewer: len(viewer.messages) == 50)
    writing = asyncio.create_task(off_loop(service.inside, logger_script("gapless", 1, 400)))
    await viewer.until(lambda viewer: len(numbers(viewer, "gapless")) >= 150)
    await seat.close(session)
    await viewer.until(lambda viewer: viewer.closed is not None)
    await writing
    await off_loop(service.inside, logger_script("gapless", 401, 800))
    _, again = await seat.follow(cursor=viewer.cursors[-1])
    await again.until(lambda viewer: 800 in numbers(viewer, "gapless"))
    await off_loop(service.inside, logger_script("gapless", 801, 900))
    await again.until(lambda viewer: 900 in numbers(viewer, "gapless"))
    assert numbers(viewer, "gapless") + numbers(again, "gapless") == list(range(1, 901))
    cursors = viewer.cursors + again.cursors
    assert len(set(cursors)) == len(cursors)
    burst = next(entry for out in again.outs for entry in out.entries or [] if entry.message == "gapless 900")
    assert (burst.ident, burst.priority) == ("burst", 6)


async def test_the_follower_leaves_no_mark_in_the_journal(service: LabHost, seat: Seat) -> None:
    session, viewer = await seat.follow(lines=1000)
    await off_loop(service.inside, logger_script("mark", 1, 1))
    await viewer.until(lambda viewer: numbers(viewer, "mark") == [1])
    assert not [text for text in viewer.messages if "nspawnweb-journal" in text]
    await seat.close(session)


async def test_thousands_of_lines_a_second_come_through_whole(service: LabHost, seat: Seat) -> None:
    conf = "/run/systemd/journald.conf.d"
    script = f"mkdir -p {conf}; printf '[Journal]\\nRateLimitIntervalSec=0\\n' > {conf}/t.conf"
    await off_loop(service.inside, f"{script}; systemctl restart systemd-journald")
    _, viewer = await seat.follow(lines=0)
    await asyncio.sleep(0.5)
    began = time.monotonic()
    await off_loop(service.inside, logger_script("fast", 1, 30_000))
    await viewer.until(lambda viewer: 30_000 in numbers(viewer, "fast"), 120)
    took = time.monotonic() - began
    assert numbers(viewer, "fast") == list(range(1, 30_001))
    print(f"30,000 lines in {took:.2f} s, {len(viewer.outs)} batches")


async def test_a_line_is_seen_within_a_moment(service: LabHost, seat: Seat) -> None:
    _, viewer = await seat.follow(lines=1)
    await viewer.until(lambda viewer: len(viewer.messages) >= 1)
    script = "for i in $(seq 20); do echo late $i $(date +%s%N) | systemd-cat; sleep 0.1; done"
    writing = asyncio.create_task(off_loop(service.inside, script))
    took = []
    for number in range(1, 21):
        await viewer.until(lambda viewer, number=number: number in numbers(viewer, "late"))  # type: ignore[misc]
        message = next(text for text in viewer.messages if text.startswith(f"late {number} "))
        took.append(time.time_ns() / 1e6 - int(message.split()[2]) / 1e6)
    await writing
    print(f"from echo to viewer: median {sorted(took)[10]:.1f} ms")
    assert sorted(took)[10] < 2000, "journald itself wakes its followers only every 250 ms"


async def test_the_console_outlives_the_container_and_shows_its_boot(service: LabHost, seat: Seat) -> None:
    _, viewer = await seat.follow(source=JournalSource.CONSOLE, lines=20)
    await viewer.until(lambda viewer: len(viewer.messages) == 20)
    await off_loop(service.stop_container)
    await viewer.until(lambda viewer: any("Stopped systemd-nspawn@web1" in text for text in viewer.messages))
    await off_loop(service.start_container)
    await viewer.until(lambda viewer: any("Started systemd-nspawn@web1" in text for text in viewer.messages[20:]))
    assert viewer.closed is None
    assert all("\x1b" not in text for text in viewer.messages)
    _, again = await seat.follow(source=JournalSource.CONSOLE, cursor=viewer.cursors[19])
    await again.until(lambda again: len(again.cursors) >= len(viewer.cursors) - 20)
    assert again.cursors[: len(viewer.cursors) - 20] == viewer.cursors[20:]


async def test_a_journal_ends_with_its_container_and_says_so(service: LabHost, seat: Seat) -> None:
    _, viewer = await seat.follow(lines=5)
    await viewer.until(lambda viewer: len(viewer.messages) >= 5)
    await off_loop(service.stop_container)
    await viewer.until(lambda viewer: viewer.closed is not None)
    assert viewer.closed == "The container was stopped."
    _, after = await seat.follow(lines=5)
    await after.until(lambda viewer: viewer.closed is not None)
    assert "not running" in (after.closed or "")


async def test_without_a_lease_no_journalctl_is_left(service: LabHost, seat: Seat) -> None:
    session, viewer = await seat.follow(lines=5)
    console, _ = await seat.follow(lines=5, source=JournalSource.CONSOLE)
    await viewer.until(lambda viewer: len(viewer.messages) >= 5)
    wait_for(lambda: len(service.journalctls()) >= 2, what="both followers")
    await seat.unlease(session)
    await seat.unlease(console)
    await viewer.until(lambda viewer: viewer.closed is not None)
    assert viewer.closed == "Nobody was watching any more."
    await off_loop(wait_for, lambda: service.journalctls() == [], 10, "the end of every journalctl")
    units = service.run("systemctl", "-M", CONTAINER, "list-units", "--all", "--no-legend", "nspawnweb-*")
    assert units.strip() == ""


async def test_an_unreadable_journal_says_why(service: LabHost, seat: Seat) -> None:
    await off_loop(service.inside, "mv /usr/bin/journalctl /usr/bin/journalctl.away")
    try:
        _, viewer = await seat.follow()
        await viewer.until(lambda viewer: viewer.closed is not None)
    finally:
        await off_loop(service.inside, "mv /usr/bin/journalctl.away /usr/bin/journalctl")
    assert "cannot be read" in (viewer.closed or "")
    assert "journalctl" in (viewer.closed or "")


# --- terminals ------------------------------------------------------------------------------------------------------


async def test_a_shell_takes_input_resizes_and_ends(service: LabHost, seat: Seat) -> None:
    session, viewer = await seat.terminal(cols=100, rows=30)
    await seat.type(session, "echo ready-$((40+2)) $TERM; stty size\n")
    await viewer.until(lambda viewer: b"ready-42 xterm-256color" in viewer.data and b"30 100" in viewer.data)
    await seat.portal.send(seat.redis, TerminalResize(session=session, cols=132, rows=43))
    await seat.type(session, "stty size\n")
    await viewer.until(lambda viewer: b"43 132" in viewer.data)
    await seat.type(session, "exit\n")
    await viewer.until(lambda viewer: viewer.closed is not None)
    assert viewer.closed == "The shell ended."


async def test_keystrokes_echo_within_milliseconds(service: LabHost, seat: Seat) -> None:
    session, viewer = await seat.terminal()
    await seat.type(session, "echo rea''dy\n")
    await viewer.until(lambda viewer: b"ready" in viewer.data)
    took = []
    for _ in range(30):
        await asyncio.sleep(0.03)
        before, began = len(viewer.data), time.perf_counter()
        await seat.type(session, "x")
        await viewer.until(lambda viewer, before=before: len(viewer.data) > before)  # type: ignore[misc]
        took.append((time.perf_counter() - began) * 1000)
    print(f"key to echo: median {sorted(took)[15]:.1f} ms")
    assert sorted(took)[15] < 500
    await seat.close(session)


@pytest.mark.parametrize("trap", ["", "trap '' TERM HUP; "])
async def test_without_a_lease_the_shell_and_its_jobs_end(service: LabHost, seat: Seat, trap: str) -> None:
    """A shell that ignores every polite signal ends too; its jobs, then, are its own affair."""
    session, viewer = await seat.terminal()
    await seat.type(session, f"{trap}echo sta''rted; sleep 98765 & sleep 98766\n")
    await viewer.until(lambda viewer: b"started" in viewer.data)
    await seat.unlease(session)
    await viewer.until(lambda viewer: viewer.closed is not None)
    assert viewer.closed == "Nobody was watching any more."
    await off_loop(wait_for, lambda: shells(service) == "", 3, "the end of the shell")
    if not trap:
        await off_loop(wait_for, lambda: "9876" not in service.run("pgrep", "-a", "sleep", check=False), 5, "their end")
    service.run("pkill", "-KILL", "-f", "^sleep 9876", check=False)


def shells(service: LabHost) -> str:
    argv = ["systemctl", "-M", CONTAINER, "list-units", "--no-legend", "--state=active,deactivating"]
    return service.run(*argv, "container-shell@*").strip()


async def test_a_terminal_ends_with_its_container(service: LabHost, seat: Seat) -> None:
    session, viewer = await seat.terminal()
    await seat.type(session, "echo rea''dy\n")
    await viewer.until(lambda viewer: b"ready" in viewer.data)
    await off_loop(service.stop_container)
    await viewer.until(lambda viewer: viewer.closed is not None)
    assert viewer.closed == "The container was stopped."
    _, after = await seat.terminal()
    await after.until(lambda viewer: viewer.closed is not None)
    assert "not running" in (after.closed or "")


async def test_a_user_that_is_not_there_is_told(service: LabHost, seat: Seat) -> None:
    _, viewer = await seat.terminal(user="nosuchuser")
    await viewer.until(lambda viewer: viewer.closed is not None)
    assert viewer.closed != "The shell ended."


async def test_stopping_the_service_closes_sessions_with_a_reason(service: LabHost, seat: Seat) -> None:
    shell, terminal = await seat.terminal()
    await seat.type(shell, "echo rea''dy\n")
    await terminal.until(lambda viewer: b"ready" in viewer.data)
    _, journal = await seat.follow(lines=5)
    await journal.until(lambda viewer: len(viewer.messages) >= 5)
    began = time.monotonic()
    await off_loop(service.stop_service)
    assert time.monotonic() - began < 10
    for viewer in (terminal, journal):
        await viewer.until(lambda viewer: viewer.closed is not None)
        assert "stopped or updated" in (viewer.closed or "")
    await off_loop(wait_for, lambda: shells(service) == "", 3, "the end of the shell")


# --- state ----------------------------------------------------------------------------------------------------------


class States:
    """What the host reports, from now on."""

    def __init__(self, redis: Redis, host: UUID) -> None:
        self._redis, self._key, self._position = redis, keys.state(host), "0"
        self.messages: list[StateMessage] = []

    async def until(self, done: Callable[[list[StateMessage]], object], limit_s: float = 15) -> None:
        try:
            async with asyncio.timeout(limit_s):
                while not done(self.messages):
                    for position, fields in await self._redis.xrange(self._key, f"({self._position}", "+"):
                        self._position = position.decode()
                        self.messages.append(STATE.validate_json(fields[b"d"]))
                    await asyncio.sleep(0.01)
        except TimeoutError:
            raise AssertionError(f"after {limit_s} s there is only {self.messages[-3:]!r}") from None


@pytest.fixture
async def states(service: LabHost, redis: Redis, portal: Portal) -> States:
    return States(redis, portal.host)


def changes(messages: list[StateMessage], *wanted: MachineState) -> bool:
    """Whether web1 went through these states, in this order, perhaps with others between."""
    left = list(wanted)
    for message in messages:
        if isinstance(message, MachineChanged) and message.name == CONTAINER and message.info:
            left = left[1:] if left[:1] == [message.info.state] else left
    return not left


async def test_the_host_reports_itself_and_its_containers(states: States) -> None:
    await states.until(lambda messages: any(isinstance(one, InventoryReport) for one in messages))
    report = next(one for one in states.messages if isinstance(one, InventoryReport))
    assert report.facts.hostname == "agentlive"
    await states.until(lambda messages: any(isinstance(one, InventoryReport) and one.facts.checks for one in messages))
    await states.until(
        lambda messages: any(
            isinstance(one, MachineChanged | InventoryReport) and "running" in one.model_dump_json() for one in messages
        )
    )
    await states.until(lambda messages: any(isinstance(one, Heartbeat) and one.containers for one in messages))
    beat = next(one for one in states.messages if isinstance(one, Heartbeat) and one.containers)
    metrics = beat.containers[CONTAINER]
    assert (metrics.tasks or 0) > 3
    assert (metrics.memory_bytes or 0) > 1_000_000


async def test_a_stop_and_a_start_are_reported_at_once(states: States, service: LabHost) -> None:
    await states.until(lambda messages: any(isinstance(one, InventoryReport) for one in messages))
    states.messages.clear()
    await off_loop(service.stop_container)
    await states.until(lambda messages: changes(messages, MachineState.STOPPING, MachineState.STOPPED), 5)
    states.messages.clear()
    await off_loop(service.start_container)
    await states.until(lambda messages: changes(messages, MachineState.STARTING, MachineState.RUNNING), 5)
    await states.until(lambda messages: any(isinstance(one, InventoryReport) for one in messages), 5)


async def test_enabling_and_disabling_are_reported(states: States, service: LabHost) -> None:
    await states.until(lambda messages: any(isinstance(one, InventoryReport) for one in messages))
    for verb, wanted in (("enable", True), ("disable", False)):
        states.messages.clear()
        await off_loop(service.run, "systemctl", verb, "systemd-nspawn@web1")
        await states.until(
            lambda messages, wanted=wanted: any(  # type: ignore[misc]
                isinstance(one, MachineChanged) and one.info and one.info.enabled is wanted for one in messages
            ),
            5,
        )


async def test_an_image_that_comes_and_goes_is_reported(states: States, service: LabHost) -> None:
    await states.until(lambda messages: any(isinstance(one, InventoryReport) for one in messages))
    await off_loop(service.run, "machinectl", "clone", CONTAINER, "copy1")
    await states.until(
        lambda messages: any(isinstance(one, MachineChanged) and one.name == "copy1" for one in messages), 5
    )
    states.messages.clear()
    await off_loop(service.run, "machinectl", "remove", "copy1")
    await states.until(
        lambda messages: any(
            isinstance(one, MachineChanged) and one.name == "copy1" and one.info is None for one in messages
        ),
        5,
    )


async def test_the_watchdog_is_fed(service: LabHost) -> None:
    status = service.run("systemctl", "show", "live-under-test.service", "-p", "WatchdogTimestampMonotonic", "--value")
    assert status.strip() not in ("", "0")
