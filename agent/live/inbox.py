"""Reads the portal's live requests from Redis, admits or refuses each, and hands them on in order."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Protocol
from uuid import UUID

from redis.asyncio import Redis
from redis.exceptions import RedisError

from agent.live.backoff import Backoff, obey_cancel
from agent.live.verify import Gate, RefusedRequest, StaleRequest
from contract import keys
from contract.events import Refused
from contract.live import REQUEST_LIFETIME_S, Request

log = logging.getLogger(__name__)

BLOCK_MS = 2000
COUNT = 200
SKEW_MAX_S = 10
REPORTS_AT_ONCE = 10
REPORT_EVERY_S = 10.0


class Reports(Protocol):
    """What is needed of agent.store.Store."""

    def refuse(self, body: Refused) -> None: ...


class RefusalLog:
    """Tells the portal of refusals; a flood of them becomes one report a while, with their number."""

    def __init__(self, reports: Reports, clock: Callable[[], float] = time.monotonic) -> None:
        self._reports = reports
        self._clock = clock
        self._allowance = float(REPORTS_AT_ONCE)
        self._at = clock()
        self._silent = 0

    def add(self, refusal: RefusedRequest) -> None:
        now = self._clock()
        self._allowance = min(REPORTS_AT_ONCE, self._allowance + (now - self._at) / REPORT_EVERY_S)
        self._at = now
        if self._allowance < 1:
            self._silent += 1
            return
        self._allowance -= 1
        more = f" ({self._silent} more were refused meanwhile)" if self._silent else ""
        self._silent = 0
        log.warning("refused a live request (%s): %s%s", refusal.code, refusal.why, more)
        self._reports.refuse(Refused(code=refusal.code, why=(refusal.why + more)[:2000]))


class Inbox:
    """Keeps its own position, so nothing is taken twice or missed while the service lives."""

    def __init__(
        self, redis: Redis, host: UUID, gate: Gate, refusals: RefusalLog, dispatch: Callable[[Request], None]
    ) -> None:
        self._redis = redis
        self._stream = keys.live_in(host)
        self._gate = gate
        self._refusals = refusals
        self._dispatch = dispatch
        self._position = ""

    async def run(self) -> None:
        """Read until cancelled."""
        backoff = Backoff()
        while True:
            try:
                await self._read_once()
                obey_cancel()
                backoff.reset()
            except (RedisError, OSError) as error:
                if not backoff.failing:
                    log.warning("live requests cannot be read: %s", error)
                await backoff.wait()

    async def _read_once(self) -> None:
        if not self._position:
            self._position = await self._first_position()
        answer = await self._redis.xread({self._stream: self._position}, count=COUNT, block=BLOCK_MS)
        for _, messages in _streams(answer):
            for entry_id, fields in messages:
                self._position = entry_id.decode() if isinstance(entry_id, bytes) else entry_id
                self._take(fields or {})

    async def _first_position(self) -> str:
        """After a restart: back as far as a request can still be valid, by Redis's own clock."""
        seconds, _ = await self._redis.time()
        skew = time.time() - seconds
        if abs(skew) > SKEW_MAX_S:
            why = f"This host's clock is {abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} the portal's. "
            hint = "Terminals, journals and cancels will be refused as expired: switch on time synchronisation."
            self._refusals.add(RefusedRequest("clock", why + hint))
        return f"{max(seconds - REQUEST_LIFETIME_S, 0) * 1000}-0"

    def _take(self, fields: dict[Any, Any]) -> None:
        raw = fields.get(keys.FIELD.encode(), fields.get(keys.FIELD, b""))
        sent = datetime.fromtimestamp(int(self._position.partition("-")[0]) / 1000, UTC)
        try:
            request = self._gate.admit(raw if isinstance(raw, bytes) else raw.encode(), sent=sent)
        except StaleRequest as stale:
            log.info("ignored a live request: %s", stale.why)
        except RefusedRequest as refusal:
            self._refusals.add(refusal)
        else:
            self._obey(request)

    def _obey(self, request: Request) -> None:
        try:
            self._dispatch(request)
        except RefusedRequest as refusal:
            self._refusals.add(refusal)
        except Exception:
            log.exception("a %s request met an error", request.kind)


def _streams(answer: Any) -> list[tuple[Any, list[tuple[Any, dict[Any, Any]]]]]:
    """XREAD's answer, in the shapes that RESP2 and RESP3 give it."""
    if isinstance(answer, dict):
        return [(name, [pair for chunk in chunks for pair in _pairs(chunk)]) for name, chunks in answer.items()]
    return [(name, messages) for name, messages in answer or []]


def _pairs(chunk: Any) -> list[Any]:
    return chunk if isinstance(chunk, list) else [chunk]
