"""Reading a session's output from Redis, and keeping its lease."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID
from weakref import WeakKeyDictionary

import structlog
from django.conf import settings
from pydantic import ValidationError
from redis.asyncio import Redis
from redis.exceptions import RedisError

from contract import keys
from contract.live import Out
from tasks.redis import aclient

log = structlog.get_logger(__name__)

BLOCK_MS = 4000
COUNT = 200
VIEWERS_MAX = 5000
"""Connections of one process to Redis: each viewer that waits for output holds one."""
OUT_MAX = 1024 * 1024
"""Largest batch in bytes that is looked at. What a host sends is not trusted to be small."""
RETRY_S = 1.0
BEGIN = "0-0"

_loops: WeakKeyDictionary[asyncio.AbstractEventLoop, Redis] = WeakKeyDictionary()


def _blocking_client() -> Redis:
    """Apart from the one of short commands: a pool of connections that mostly wait."""
    loop = asyncio.get_running_loop()
    if loop not in _loops:
        _loops[loop] = Redis.from_url(settings.REDIS_URL, max_connections=VIEWERS_MAX, socket_timeout=BLOCK_MS / 500)
    return _loops[loop]


async def follow(host_id: UUID, session: UUID, position: str = BEGIN) -> AsyncIterator[list[tuple[bytes, Out | None]]]:
    """Batches of the session's stream after `position`, raw and read; None in place of one that makes no sense.

    Goes on where it was when Redis comes back. Never ends by itself.
    """
    key, redis = keys.live_out(host_id, session), _blocking_client()
    while True:
        try:
            answer = await redis.xread({key: position}, count=COUNT, block=BLOCK_MS)
        except (RedisError, OSError) as error:
            log.info("live_stream_waits", key=key, error=str(error))
            await asyncio.sleep(RETRY_S)
            continue
        entries = _entries(answer)
        if entries:
            position = _text(entries[-1][0])
            yield [_read(fields) for _, fields in entries]


async def newest(host_id: UUID, session: UUID, bytes_max: int) -> tuple[list[Out], str]:
    """The last batches that hold about `bytes_max` bytes, oldest first, and the position after them."""
    key, redis = keys.live_out(host_id, session), aclient()
    found: list[Out] = []
    position, before, size = BEGIN, "+", 0
    while size < bytes_max:
        entries: list[Any] = await redis.xrevrange(key, max=before, count=COUNT) or []
        for ident, fields in entries:
            position = _text(ident) if position == BEGIN else position
            raw, out = _read(fields)
            size += len(raw)
            if out is not None:
                found.append(out)
        if len(entries) < COUNT:
            break
        before = f"({_text(entries[-1][0])}"
    return found[::-1], position


async def keep_lease(host_id: UUID, session: UUID, seconds: int) -> None:
    """Say that somebody looks. Raises RedisError."""
    await aclient().set(keys.lease(host_id, session), "1", ex=seconds)


async def lease_lives(host_id: UUID, session: UUID) -> bool:
    return bool(await aclient().exists(keys.lease(host_id, session)))


async def drop_lease(host_id: UUID, session: UUID) -> None:
    """Nobody looks any more; the agent ends the session within seconds."""
    await aclient().delete(keys.lease(host_id, session))


def _read(fields: Any) -> tuple[bytes, Out | None]:
    raw = (fields or {}).get(keys.FIELD.encode(), b"")
    if len(raw) > OUT_MAX:
        return b"", None
    try:
        return raw, Out.model_validate_json(raw)
    except ValidationError as error:
        log.warning("live_batch_unreadable", errors=error.error_count())
        return b"", None


def _entries(answer: Any) -> list[tuple[Any, Any]]:
    """XREAD's answer for one stream, in the shapes that RESP2 and RESP3 give it."""
    if isinstance(answer, dict):
        return [pair for chunks in answer.values() for chunk in chunks for pair in _pairs(chunk)]
    return [pair for _, pairs in answer or [] for pair in pairs]


def _pairs(chunk: Any) -> list[tuple[Any, Any]]:
    return chunk if isinstance(chunk, list) else [chunk]


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value
