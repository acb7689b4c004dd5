"""The output stream of one session: each batch exactly once, bounded in number, bytes and time.

The ids of the stream are chosen here, not by Redis. So a batch whose answer was lost can be sent again: Redis
refuses the second copy (XADD takes rising ids only), and terminal output never shows twice.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from uuid import UUID

from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisGone
from redis.exceptions import RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisSlow

from agent.live.backoff import Backoff, obey_cancel
from contract import keys
from contract.live import Out

log = logging.getLogger(__name__)

KEEP_S = 3600
"""Time to live of the stream while its session lives; each batch, and the lease keeper, renews it."""
KEEP_CLOSED_S = 900
"""Time to live once the session has ended: long enough to read why."""
CLOSE_TRIES_S = 2.0


class OutStream:
    """Writes `Out` batches of one session. One writer a stream."""

    def __init__(self, redis: Redis, host: UUID, session: UUID, *, bytes_max: int) -> None:
        self._redis = redis
        self.key = keys.live_out(host, session)
        self._bytes_max = bytes_max
        self._sent: deque[tuple[str, int]] = deque()
        self._bytes = 0
        self._last = (0, -1)
        self._began = False
        self._lock = asyncio.Lock()

    async def send(self, out: Out, *, keep_s: int = KEEP_S) -> None:
        """Append a batch; waits for as long as Redis is away. That is the back-pressure of the session."""
        data = out.model_dump_json(exclude_none=True)
        async with self._lock:
            backoff = Backoff()
            entry_id: str | None = None
            while True:
                try:
                    if not self._began:
                        await self._begin()
                    entry_id, again = entry_id or self._next_id(), entry_id is not None
                    await self._add(entry_id, data, keep_s, again=again)
                    return obey_cancel()
                except (RedisGone, RedisSlow, OSError) as error:
                    if not backoff.failing:
                        log.warning("%s waits for Redis: %s", self.key, error)
                    await backoff.wait()

    async def close(self, reason: str) -> None:
        """The last word. Gives up after a moment if Redis is away; viewers then see their lease run out."""
        try:
            async with asyncio.timeout(CLOSE_TRIES_S):
                await self.send(Out(closed=reason), keep_s=KEEP_CLOSED_S)
        except (TimeoutError, RedisError) as error:
            log.warning("%s could not be closed with %r: %s", self.key, reason, error)

    async def _begin(self) -> None:
        """Go on after what an earlier session of this id left."""
        newest = await self._redis.xrevrange(self.key, count=1)
        if newest:
            ms, _, number = _text(newest[0][0]).partition("-")
            self._last = (int(ms), int(number))
        self._began = True

    def _next_id(self) -> str:
        """Rises also when the clock does not."""
        now = time.time_ns() // 1_000_000
        self._last = (now, 0) if now > self._last[0] else (self._last[0], self._last[1] + 1)
        return f"{self._last[0]}-{self._last[1]}"

    async def _add(self, entry_id: str, data: str, keep_s: int, *, again: bool) -> None:
        oldest = self._room_for(entry_id, len(data))
        async with self._redis.pipeline(transaction=False) as pipe:
            pipe.xadd(self.key, {keys.FIELD: data}, id=entry_id, minid=oldest, approximate=False)
            pipe.expire(self.key, keep_s)
            added, expired = await pipe.execute(raise_on_error=False)
        for answer in (added, expired):
            if isinstance(answer, ResponseError) and again and "equal or smaller" in str(answer):
                continue  # the first copy had arrived, only its answer was lost
            if isinstance(answer, Exception):
                raise answer

    def _room_for(self, entry_id: str, size: int) -> str:
        """Forget the oldest batches over the bounds; the id of the oldest that stays."""
        if not self._sent or self._sent[-1][0] != entry_id:
            self._sent.append((entry_id, size))
            self._bytes += size
        while len(self._sent) > 1 and (self._bytes > self._bytes_max or len(self._sent) > keys.LIVE_OUT_MAX):
            self._bytes -= self._sent.popleft()[1]
        return self._sent[0][0]


def _text(value: bytes | str | None) -> str:
    return value.decode() if isinstance(value, bytes) else value or "0-0"
