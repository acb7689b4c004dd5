"""The relay against a real Redis: what hosts write is in the database a moment later, and only then trimmed."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from django.db import OperationalError
from redis import Redis

from audit.models import AuditEvent
from contract import keys
from contract.events import Event
from contract.live import Heartbeat, HostMetrics, MachineChanged, MachineInfo, MachineState
from machines.models import Container, Host, HostSample
from tasks.models import Job, JobEvent, JobState
from tasks.relay import reader
from tasks.relay.reader import Relay
from tests.conftest import RedisServer
from tests.factories import HostFactory
from tests.tasks.helpers import ask, event, finished, output, started, step, story

pytestmark = pytest.mark.django_db(transaction=True)
S = JobState
WHOLE = (started(), step(), output("one"), step("done"), finished(state="running"))


def write(redis: Redis, host: Host, *events: Event) -> None:
    for one in events:
        redis.xadd(keys.events(host.pk), {keys.FIELD: one.model_dump_json()})


@contextlib.asynccontextmanager
async def relaying() -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(Relay().run())
    try:
        yield task
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def until(check: Callable[[], Any], seconds: float = 10) -> Any:
    """Wait for a condition, with a limit."""
    ask_database = sync_to_async(check)
    async with asyncio.timeout(seconds):
        while not (found := await ask_database()):  # noqa: ASYNC110 - the condition is in a database
            await asyncio.sleep(0.005)
    return found


def state_is(job: Job, state: JobState) -> Callable[[], bool]:
    return lambda: Job.objects.filter(pk=job.pk, state=state).exists()


@pytest.fixture
def job(owner: User, container: Container, sent: list[Any]) -> Job:
    return ask(owner, container)


async def test_a_story_arrives_and_the_stream_is_trimmed(job: Job, host: Host, redis: Redis) -> None:
    async with relaying():
        write(redis, host, *story(job, *WHOLE))
        await until(state_is(job, S.SUCCEEDED))
        await until(lambda: redis.xlen(keys.events(host.pk)) == 0)
    assert await JobEvent.objects.acount() == 5


async def test_an_event_is_in_the_database_within_milliseconds(job: Job, host: Host, redis: Redis) -> None:
    loop = asyncio.get_running_loop()
    took = []
    async with relaying():
        write(redis, host, event(job, 1, started()))
        await until(state_is(job, S.RUNNING))
        for seq in range(2, 22):
            begin = loop.time()
            write(redis, host, event(job, seq, output("x")))
            await until(lambda seq=seq: Job.objects.filter(pk=job.pk, last_seq=seq).exists())
            took.append(loop.time() - begin)
    assert min(took) < 0.25, took  # the best of twenty, on a machine that others load as well


async def test_what_was_written_before_the_relay_began_is_read(job: Job, host: Host, redis: Redis) -> None:
    write(redis, host, *story(job, *WHOLE))
    async with relaying():
        await until(state_is(job, S.SUCCEEDED))


async def test_a_second_relay_and_a_second_reading_change_nothing(job: Job, host: Host, redis: Redis) -> None:
    async with relaying(), relaying():
        write(redis, host, *story(job, *WHOLE), *story(job, *WHOLE))
        await until(state_is(job, S.SUCCEEDED))
        await until(lambda: redis.xlen(keys.events(host.pk)) == 0)
    assert await JobEvent.objects.acount() == 5
    assert not await AuditEvent.objects.filter(action="event.rejected").aexists()


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"not json",
        b"{}",
        b'{"job":null,"seq":-1,"at":"2026-01-01T00:00:00Z","body":{"type":"started"}}',
        b'{"job":"x","seq":1,"at":"never","body":{"type":"rm -rf"}}',
        b"\xff\xfe\x00",
        b"[" * 10_000,
    ],
)
async def test_a_malformed_message_is_on_the_trail_and_stops_nothing(
    raw: bytes, job: Job, host: Host, redis: Redis
) -> None:
    write(redis, host, event(job, 1, started()))
    redis.xadd(keys.events(host.pk), {keys.FIELD: raw})
    redis.xadd(keys.events(host.pk), {"other": b"field"})
    write(redis, host, *story(job, *WHOLE)[1:])
    async with relaying():
        await until(state_is(job, S.SUCCEEDED))
    assert await AuditEvent.objects.filter(action="event.rejected", actor_name=f"host:{host.name}").acount() == 2


async def test_one_entry_that_breaks_the_transaction_is_skipped_and_the_others_are_stored(
    job: Job, host: Host, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tasks.relay import ingest

    def poisoned(one: Any, seen: Event, apply: Any = ingest._apply) -> None:
        if seen.body.type == "output":
            raise ValueError("a bug of ours")
        apply(one, seen)

    monkeypatch.setattr(ingest, "_apply", poisoned)
    write(redis, host, event(job, 1, started()), event(job, 2, output("x")))
    async with relaying():
        await until(lambda: AuditEvent.objects.filter(detail__code="unusable_message").exists())
        await until(state_is(job, S.RUNNING))


async def test_a_host_that_is_enrolled_meanwhile_is_heard_within_a_second(
    job: Job, host: Host, redis: Redis, owner: User, team: Any, sent: list[Any]
) -> None:
    async with relaying():
        write(redis, host, event(job, 1, started()))
        await until(state_is(job, S.RUNNING))
        new = await sync_to_async(HostFactory)(name="new", last_seen=None)
        redis.xadd(keys.state(new.pk), {keys.FIELD: heartbeat().model_dump_json()})
        await until(lambda: Host.objects.get(pk=new.pk).is_online, seconds=2)


async def test_a_revoked_host_is_not_heard(job: Job, host: Host, redis: Redis) -> None:
    await Host.objects.filter(pk=host.pk).aupdate(revoked_at=datetime.now(UTC), last_seen=None)
    redis.xadd(keys.state(host.pk), {keys.FIELD: heartbeat().model_dump_json()})
    async with relaying():
        await asyncio.sleep(1.2)
    assert (await Host.objects.aget(pk=host.pk)).last_seen is None


async def test_it_outlives_a_redis_that_is_restarted(
    job: Job, host: Host, redis: Redis, redis_server: RedisServer
) -> None:
    async with relaying() as task:
        write(redis, host, event(job, 1, started()))
        await until(state_is(job, S.RUNNING))
        await asyncio.to_thread(redis_server.stop)
        await asyncio.sleep(0.3)
        assert not task.done()
        await asyncio.to_thread(redis_server.start)
        write(redis, host, *story(job, *WHOLE)[1:])
        await until(state_is(job, S.SUCCEEDED))


async def test_it_outlives_a_redis_that_lost_everything(
    job: Job, host: Host, redis: Redis, redis_server: RedisServer
) -> None:
    async with relaying():
        write(redis, host, event(job, 1, started()))
        await until(state_is(job, S.RUNNING))
        await asyncio.to_thread(redis_server.stop)
        for path in redis_server.folder.glob("appendonlydir/*"):
            path.unlink()
        await asyncio.to_thread(redis_server.start)
        # Entry ids begin anew, lower than those that were read: what is new must be read all the same.
        redis.xadd(keys.events(host.pk), {keys.FIELD: event(job, 2, step()).model_dump_json()}, id="1-1")
        write(redis, host, *story(job, *WHOLE)[2:])
        await until(state_is(job, S.SUCCEEDED))


async def test_a_database_that_is_away_is_waited_for_and_nothing_is_lost(
    job: Job, host: Host, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, failures = reader._store, [OperationalError("gone"), OperationalError("still gone")]

    def flaky(entries: Any) -> None:
        if failures:
            raise failures.pop()
        real(entries)

    monkeypatch.setattr(reader, "_store", flaky)
    write(redis, host, *story(job, *WHOLE))
    async with relaying():
        await until(state_is(job, S.SUCCEEDED))
    assert not failures and await JobEvent.objects.acount() == 5


async def test_a_gap_is_asked_for_by_a_signed_request(job: Job, host: Host, redis: Redis) -> None:
    events = story(job, *WHOLE)
    async with relaying():
        write(redis, host, events[0], *events[3:])
        await until(lambda: redis.xlen(keys.live_in(host.pk)) == 1)
        write(redis, host, *events[1:3])
        await until(state_is(job, S.SUCCEEDED))


async def test_states_and_events_come_through_side_by_side(
    job: Job, host: Host, container: Container, redis: Redis
) -> None:
    info = MachineInfo(name="web1", state=MachineState.DEGRADED, managed=True)
    async with relaying():
        redis.xadd(keys.state(host.pk), {keys.FIELD: heartbeat().model_dump_json()})
        message = MachineChanged(at=datetime.now(UTC), name="web1", info=info)
        redis.xadd(keys.state(host.pk), {keys.FIELD: message.model_dump_json()})
        write(redis, host, event(job, 1, started()))
        await until(state_is(job, S.RUNNING))
        await until(lambda: Container.objects.get(pk=container.pk).state == "degraded")
        await until(lambda: HostSample.objects.count() == 1)
        await until(lambda: redis.xlen(keys.state(host.pk)) == 0)


async def test_it_ends_when_it_is_told_to(redis_server: RedisServer) -> None:
    async with relaying() as task:
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_five_thousand_events_a_second_go_through(job: Job, host: Host, redis: Redis) -> None:
    count = 5000
    pipe = redis.pipeline(transaction=False)
    pipe.xadd(keys.events(host.pk), {keys.FIELD: event(job, 1, started()).model_dump_json()})
    for seq in range(2, count + 1):
        pipe.xadd(keys.events(host.pk), {keys.FIELD: event(job, seq, output(f"line {seq}")).model_dump_json()})
    await asyncio.to_thread(pipe.execute)
    begin = asyncio.get_running_loop().time()
    async with relaying():
        await until(lambda: Job.objects.filter(pk=job.pk, last_seq=count).exists(), seconds=30)
    print(f"{count / (asyncio.get_running_loop().time() - begin):.0f} events/s")


def heartbeat() -> Heartbeat:
    metrics = HostMetrics(load1=0.1, cpu_usec=1, memory_used_bytes=1, pool_used_bytes=1, pool_free_bytes=1)
    return Heartbeat(at=datetime.now(UTC), metrics=metrics)
