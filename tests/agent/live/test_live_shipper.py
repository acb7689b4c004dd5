"""The outbox reaches Redis in order, at once, and loses nothing while Redis is away."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

from redis.asyncio import Redis

from agent.live.shipper import ship
from agent.store import Store
from contract import keys
from contract.events import Event, Output
from contract.orders import Inventory, Order
from tests.agent.live.live_fakes import RedisServer, client


def claimed(store: Store, host: UUID) -> UUID:
    now = datetime.now(UTC)
    order = Order(job=uuid4(), host=host, issued=now, expires=now + timedelta(hours=1), params=Inventory())
    store.claim(order)
    return order.job


@asynccontextmanager
async def shipping(store: Store, redis: Redis, host: UUID) -> AsyncIterator[None]:
    task = asyncio.create_task(ship(store, redis, host))
    await asyncio.sleep(0)
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def shipped(redis: Redis, host: UUID, count: int, limit_s: float = 15) -> list[Event]:
    async with asyncio.timeout(limit_s):
        while await redis.xlen(keys.events(host)) < count:  # noqa: ASYNC110
            await asyncio.sleep(0.0005)
    rows = await redis.xrange(keys.events(host))
    return [Event.model_validate_json(fields[b"d"]) for _, fields in rows]


def line(number: int) -> Output:
    return Output(step="s", lines=[f"line {number}"])


async def test_events_arrive_in_order_and_leave_the_outbox(store: Store, redis: Redis, host_id: UUID) -> None:
    job = claimed(store, host_id)
    for number in range(1200):
        store.append(job, line(number))
    async with shipping(store, redis, host_id):
        events = await shipped(redis, host_id, 1200)
    assert [event.seq for event in events] == list(range(1, 1201))
    assert store.unsent() == []


async def test_a_nudge_ships_within_milliseconds(store: Store, redis: Redis, host_id: UUID) -> None:
    job = claimed(store, host_id)
    took = []
    async with shipping(store, redis, host_id):
        await asyncio.sleep(0.2)
        for number in range(50):
            began = time.perf_counter()
            await asyncio.to_thread(store.append, job, line(number))
            await shipped(redis, host_id, number + 1)
            took.append(time.perf_counter() - began)
    assert sorted(took)[25] < 0.5, "they waited for the next look at the outbox, and not for the nudge"


async def test_events_wait_on_disk_while_redis_is_away(store: Store, redis_server: RedisServer, host_id: UUID) -> None:
    job = claimed(store, host_id)
    redis = client(redis_server)
    async with shipping(store, redis, host_id):
        for number in range(10):
            store.append(job, line(number))
        await shipped(redis, host_id, 10)
        redis_server.stop()
        for number in range(10, 300):
            store.append(job, line(number))
            if number % 100 == 0:
                await asyncio.sleep(0.05)
        assert len(store.unsent()) == 290
        redis_server.start()
        events = await shipped(client(redis_server), host_id, 300)
    assert [event.seq for event in events] == list(range(1, 301))
    await redis.aclose()


async def test_a_resend_ships_the_same_events_again(store: Store, redis: Redis, host_id: UUID) -> None:
    job = claimed(store, host_id)
    for number in range(5):
        store.append(job, line(number))
    async with shipping(store, redis, host_id):
        await shipped(redis, host_id, 5)
        store.requeue(job, 2)
        events = await shipped(redis, host_id, 8)
    assert [event.seq for event in events] == [1, 2, 3, 4, 5, 3, 4, 5]
