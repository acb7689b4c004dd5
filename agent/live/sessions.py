"""Open journals and terminals: each lives while its lease does, and ends with a reason that a person can read."""

from __future__ import annotations

import asyncio
import logging
import time
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from redis.asyncio import Redis
from redis.exceptions import RedisError

from agent.errors import AgentError
from agent.live.backoff import obey_cancel
from agent.live.out import KEEP_S, OutStream
from contract import keys

log = logging.getLogger(__name__)

LEASE_CHECK_S = 2.0
SESSIONS_MAX = 256
"""Most sessions at once on a host; the next is told so."""
GRACE_S = 1.0
"""How long a session may go on after its container is gone, to read what is left."""
STOP_S = 8.0
"""How long ending sessions may take when the service stops; TimeoutStopSec= of its unit is a little more."""

NO_LEASE = "Nobody was watching any more."
AGENT_STOPPED = "The host's agent was stopped or updated. Open it again."
AGENT_RESTARTED = "The host's agent was restarted. Open it again."
CONTAINER_STOPPED = "The container was stopped."
CLOSED_BY_VIEWER = "It was closed."
UNKNOWN = "This session is no longer open on the host. Open it again."


class Session(ABC):
    """One journal or terminal. `lease_s` is the time to live of its lease key, `out_bytes` the replayable output."""

    lease_s: int
    out_bytes: int

    def __init__(self, session: UUID, name: str) -> None:
        self.id = session
        self.name = name
        self.stop_reason = ""

    @abstractmethod
    async def run(self, out: OutStream) -> str:
        """Work until the end and say why it came; clean up whatever happens, also when cancelled."""

    def container_stopped(self) -> bool:
        """Whether the session ends because its container did."""
        return True


@dataclass
class _Open:
    """`work` is what is cancelled to end the session; `keeper` sees to its last words."""

    session: Session
    work: asyncio.Task[str]
    keeper: asyncio.Task[None]
    leased: float


class Sessions:
    """All open sessions of this host."""

    def __init__(self, redis: Redis, host: UUID) -> None:
        self._redis = redis
        self._host = host
        self._open: dict[UUID, _Open] = {}
        self._told: OrderedDict[UUID, None] = OrderedDict()
        self._errands: set[asyncio.Task[None]] = set()
        self._open_key = keys.live_open(host)

    def get(self, session: UUID) -> Session | None:
        found = self._open.get(session)
        return found.session if found else None

    def __len__(self) -> int:
        return len(self._open)

    def start(self, session: Session) -> None:
        """Begin it. One that is open already goes on as it is: its viewer came back."""
        if session.id in self._open:
            return
        if len(self._open) >= SESSIONS_MAX:
            limit = f"This host has {SESSIONS_MAX} journals and terminals open, which is the limit. Close some."
            self._errand(self._out(session.id, 0).close(limit))
            return
        out = self._out(session.id, session.out_bytes)
        work = asyncio.create_task(session.run(out), name=f"session-{session.id}")
        keeper = asyncio.create_task(self._see_out(session, work, out), name=f"keeper-{session.id}")
        self._open[session.id] = _Open(session, work, keeper, time.monotonic())

    def stop(self, session: UUID, reason: str) -> None:
        """End it; its own clean-up goes on after this returns."""
        found = self._open.get(session)
        if found and not found.session.stop_reason:
            found.session.stop_reason = reason
            found.work.cancel()

    def unknown(self, session: UUID) -> None:
        """Somebody types into a session that is not open, as after a restart: tell them, once."""
        if session in self._told:
            return
        self._told[session] = None
        if len(self._told) > 1000:
            self._told.popitem(last=False)
        self._errand(self._out(session, 0).close(UNKNOWN))

    def container_stopped(self, name: str) -> None:
        """End the sessions that cannot outlive the container; most end by themselves, with their last output."""
        loop = asyncio.get_running_loop()
        for session in [found.session for found in self._open.values()]:
            if session.name == name and session.container_stopped():
                loop.call_later(GRACE_S, self.stop, session.id, CONTAINER_STOPPED)

    async def close_orphans(self) -> None:
        """Tell viewers of a former run of this service that what they watch is over."""
        for raw in await self._redis.smembers(self._open_key):
            session = UUID(raw.decode() if isinstance(raw, bytes) else raw)
            if session not in self._open:
                await self._out(session, 0).close(AGENT_RESTARTED)
                await self._redis.srem(self._open_key, str(session))

    async def stop_all(self, reason: str = AGENT_STOPPED) -> None:
        """End every session and wait for their clean-up, a bounded while."""
        tasks = [found.keeper for found in self._open.values()]
        for session in list(self._open):
            self.stop(session, reason)
        tasks += self._errands
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=STOP_S)
            for task in late:
                log.error("%s did not end in time", task.get_name())

    async def keep(self) -> None:
        """End sessions whose lease is gone, and renew the streams of the others; until cancelled."""
        while True:
            await asyncio.sleep(LEASE_CHECK_S)
            try:
                await self._check_leases()
                obey_cancel()
            except (RedisError, OSError) as error:
                log.debug("leases cannot be checked: %s", error)
            self._end_unconfirmed()

    async def _check_leases(self) -> None:
        """One round trip for all. What answers late is judged at the next round."""
        sessions = list(self._open)
        if not sessions:
            return
        async with self._redis.pipeline(transaction=False) as pipe:
            for session in sessions:
                pipe.exists(keys.lease(self._host, session))
                pipe.expire(keys.live_out(self._host, session), KEEP_S)
            answers = await pipe.execute()
        for session, alive in zip(sessions, answers[::2], strict=True):
            if alive and session in self._open:
                self._open[session].leased = time.monotonic()
            elif not alive:
                self.stop(session, NO_LEASE)

    def _end_unconfirmed(self) -> None:
        """While Redis is away nobody can renew a lease: end what outlived its own."""
        now = time.monotonic()
        for found in list(self._open.values()):
            if now - found.leased > found.session.lease_s:
                self.stop(found.session.id, NO_LEASE)

    async def _see_out(self, session: Session, work: asyncio.Task[str], out: OutStream) -> None:
        """Wait for the end, and say why it came."""
        await self._mark(session.id, "sadd")
        await asyncio.wait([work])
        reason = session.stop_reason or _reason_of(session, work)
        log.info("session %s of %s ended: %s", session.id, session.name, reason)
        await out.close(reason)
        await self._mark(session.id, "srem")
        del self._open[session.id]

    async def _mark(self, session: UUID, command: str) -> None:
        """Remember what is open beyond the life of this process, for `close_orphans`."""
        try:
            await getattr(self._redis, command)(self._open_key, str(session))
        except (RedisError, OSError) as error:
            log.debug("%s of session %s: %s", command, session, error)

    def _out(self, session: UUID, size: int) -> OutStream:
        return OutStream(self._redis, self._host, session, bytes_max=size)

    def _errand(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work, name="session-errand")
        self._errands.add(task)
        task.add_done_callback(self._errands.discard)


def _reason_of(session: Session, work: asyncio.Task[str]) -> str:
    if work.cancelled():
        return AGENT_STOPPED
    error = work.exception()
    if error is None:
        return work.result()
    if isinstance(error, AgentError):
        return str(error)
    log.error("session %s of %s met an error", session.id, session.name, exc_info=error)
    return f"The host agent met an error that it did not expect ({type(error).__name__}). See its journal."
