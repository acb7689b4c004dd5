"""Ships the outbox to Redis: in order, at least once. While Redis is away events stay where they are, in SQLite."""

from __future__ import annotations

import logging
from typing import Protocol
from uuid import UUID

from redis.asyncio import Redis
from redis.exceptions import RedisError

from agent.live.backoff import Backoff, obey_cancel
from contract import keys
from contract.events import Event

log = logging.getLogger(__name__)

BATCH = 500
IDLE_S = 5.0
"""How often the outbox is looked at without a nudge: a nudge is a hint and may be lost."""


class Outbox(Protocol):
    """What the shipper needs of agent.store.Store."""

    def unsent(self, limit: int = ...) -> list[tuple[int, Event]]: ...
    def mark_sent_until(self, rowid: int) -> None: ...
    async def wait_nudge(self, timeout: float | None = None) -> bool: ...


async def ship(outbox: Outbox, redis: Redis, host: UUID) -> None:
    """Run until cancelled."""
    backoff = Backoff()
    await outbox.wait_nudge(0)  # listens from here on, so that no nudge is missed between looking and waiting
    while True:
        rows = outbox.unsent(BATCH)
        if not rows:
            await outbox.wait_nudge(IDLE_S)
            continue
        try:
            await _send(redis, host, [event for _, event in rows])
        except (RedisError, OSError) as error:
            if not backoff.failing:
                log.warning("events are kept on disk until Redis answers: %s", error)
            await backoff.wait()
            continue
        if backoff.failing:
            log.info("Redis answers again")
            backoff.reset()
        outbox.mark_sent_until(rows[-1][0])
        obey_cancel()


async def _send(redis: Redis, host: UUID, events: list[Event]) -> None:
    """One round trip. Transactional, so that a batch arrives whole or not at all."""
    async with redis.pipeline(transaction=True) as pipe:
        for event in events:
            text = event.model_dump_json()
            pipe.xadd(keys.events(host), {keys.FIELD: text}, maxlen=keys.EVENTS_MAX, approximate=True)
        await pipe.execute()
