"""A session's stream: each batch once, also when Redis's answer is lost; bounded in every direction."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID, uuid4

import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisGone

from agent.live.out import KEEP_CLOSED_S, OutStream
from contract import keys
from contract.live import Out
from tests.agent.live.live_fakes import RedisServer, client


async def batches(redis: Redis, stream: OutStream) -> list[Out]:
    return [Out.model_validate_json(fields[b"d"]) for _, fields in await redis.xrange(stream.key)]


async def test_batches_come_in_order(redis: Redis, host_id: UUID) -> None:
    stream = OutStream(redis, host_id, uuid4(), bytes_max=10**6)
    for number in range(100):
        await stream.send(Out(data=str(number)))
    assert [out.data for out in await batches(redis, stream)] == [str(number) for number in range(100)]


async def test_a_batch_whose_answer_was_lost_is_there_once(
    redis: Redis, host_id: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = OutStream(redis, host_id, uuid4(), bytes_max=10**6)
    add, lost = stream._add, []

    async def lossy(*args: Any, **options: Any) -> None:
        await add(*args, **options)
        if len(lost) < 3:
            lost.append(1)
            raise RedisGone("the answer was lost")

    monkeypatch.setattr(stream, "_add", lossy)
    await stream.send(Out(data="a"))
    await stream.send(Out(data="b"))
    assert [out.data for out in await batches(redis, stream)] == ["a", "b"]


async def test_what_is_kept_is_bounded_in_bytes_and_number(
    redis: Redis, host_id: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = OutStream(redis, host_id, uuid4(), bytes_max=10_000)
    for number in range(50):
        await stream.send(Out(data=str(number) + "x" * 1000))
    kept = await batches(redis, stream)
    assert 8 <= len(kept) <= 10
    assert (kept[-1].data or "").startswith("49x")
    monkeypatch.setattr(keys, "LIVE_OUT_MAX", 4)
    await stream.send(Out(data="last"))
    assert len(await batches(redis, stream)) == 4


async def test_a_later_session_of_the_same_id_goes_on_behind(redis: Redis, host_id: UUID) -> None:
    session = uuid4()
    await redis.xadd(keys.live_out(host_id, session), {"d": Out(data="old").model_dump_json()}, id="99999999999999-7")
    stream = OutStream(redis, host_id, session, bytes_max=10**6)
    await stream.send(Out(data="new"))
    assert (await batches(redis, stream))[-1].data == "new"


async def test_nothing_stays_for_ever(redis: Redis, host_id: UUID) -> None:
    stream = OutStream(redis, host_id, uuid4(), bytes_max=10**6)
    await stream.send(Out(data="a"))
    assert await redis.ttl(stream.key) > 0
    await stream.close("over")
    assert 0 < await redis.ttl(stream.key) <= KEEP_CLOSED_S
    assert (await batches(redis, stream))[-1].closed == "over"


async def test_it_waits_for_redis_and_close_gives_up(redis_server: RedisServer, host_id: UUID) -> None:
    redis = client(redis_server)
    stream = OutStream(redis, host_id, uuid4(), bytes_max=10**6)
    await stream.send(Out(data="a"))
    redis_server.stop()
    waiting = asyncio.create_task(stream.send(Out(data="b")))
    await asyncio.sleep(0.3)
    assert not waiting.done()
    redis_server.start()
    await asyncio.wait_for(waiting, 15)
    assert [out.data for out in await batches(redis, stream)] == ["a", "b"]
    redis_server.stop()
    async with asyncio.timeout(5):
        await stream.close("over")
    await redis.aclose()
