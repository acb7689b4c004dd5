"""/ws/containers/<id>/journal/: a container's journal, from a cursor on or its last lines, then as it grows."""

from __future__ import annotations

import asyncio
import time
from typing import Any
from uuid import UUID, uuid4

import structlog
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from redis.exceptions import RedisError

from contract.live import JOURNAL_LEASE_S, JournalFollow, JournalSource, SessionClose
from tasks.live import streams
from tasks.live.base import BadMessage, PortalSocket
from tasks.live.outbox import Outbox, Piece
from tasks.live.registry import Target, resolve_container
from tasks.notify import group
from tasks.requests import asend_request
from teams.permissions import Permission

log = structlog.get_logger(__name__)

BUFFER_BYTES = 4 * 1024 * 1024
"""What may wait for a slow viewer: more than the longest start (`lines`) usually holds."""
LEASE_RENEW_S = JOURNAL_LEASE_S / 3
AGAIN_MIN_S = 0.5
AGAIN_MAX_S = 15.0
"""Pauses between attempts while the host ends every session at once, as in the first seconds of a boot."""


class Ask(BaseModel):
    """The first message."""

    model_config = ConfigDict(extra="forbid")

    source: JournalSource = JournalSource.CONTAINER
    cursor: str = Field(default="", max_length=512, pattern=r"^[A-Za-z0-9=;_-]*$")
    lines: int = Field(default=500, ge=0, le=10_000)


class Journal(PortalSocket):
    """Follows until the browser leaves.

    While the host is offline, the container is stopped or the agent restarts it says so, and then goes on where it was.
    """

    async def begin(self) -> None:
        self._container: UUID = self.scope["url_route"]["kwargs"]["container"]
        self._ask: Ask | None = None
        self._following: asyncio.Task[str] | None = None
        self._session: UUID | None = None
        self._changed = asyncio.Event()
        self._outbox = Outbox(self._send_entries, self._tell_skipped, bytes_max=BUFFER_BYTES)
        self._target = await self._resolve()
        await self.join(group(f"host:{self._target.host_id}"))
        await self.join(group(f"container:{self._container}"))

    async def _resolve(self) -> Target:
        found: Target = await self.db(resolve_container, self.user, self._container, Permission.CONTAINER_JOURNAL)
        return found

    async def on_text(self, message: dict[str, Any]) -> None:
        if self._ask is not None:
            raise BadMessage("This journal has begun already; open another socket for another one.")
        try:
            self._ask = Ask.model_validate(message)
        except ValidationError as error:
            first = error.errors()[0]
            raise BadMessage(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None
        self.spawn(self._outbox.run())
        self.spawn(self._run(self._ask))

    async def topic_changed(self, message: Any) -> None:
        """Something about the host or the container: it may have gone or come."""
        self.check_soon()

    async def check(self) -> None:
        was, self._target = self._target, await self._resolve()
        if was != self._target:
            self._changed.set()
        if self._following is not None and not self._target.online:
            self._following.cancel()

    async def _run(self, ask: Ask) -> None:
        """Follow; when that ends, say why, and follow again once there is hope."""
        pause = AGAIN_MIN_S
        while True:
            if not self._target.online:
                host = self._target.host_name
                await self.tell({"offline": f"Host {host} is offline. The journal goes on when it returns."})
                while not self._target.online:
                    await self._wait_changed(None)
            began = time.monotonic()
            reason = await self._until_it_ends(ask)
            if reason is None:
                continue
            await self._outbox.drain()
            await self.tell({"offline": reason})
            pause = AGAIN_MIN_S if time.monotonic() - began > AGAIN_MAX_S else min(pause * 2, AGAIN_MAX_S)
            self._target = await self._resolve()
            waits_for_container = ask.source is JournalSource.CONTAINER and not self._target.up
            await self._wait_changed(None if waits_for_container else pause)
            while ask.source is JournalSource.CONTAINER and self._target.online and not self._target.up:
                await self._wait_changed(None)

    async def _wait_changed(self, seconds: float | None) -> None:
        """Until the host or the container changed, or so many seconds have passed."""
        self._changed.clear()
        try:
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        except TimeoutError:
            return

    async def _until_it_ends(self, ask: Ask) -> str | None:
        """The reason that the host gave; None: the host went offline."""
        self._following = task = asyncio.create_task(self._follow(ask))
        try:
            return await task
        except asyncio.CancelledError:
            current = asyncio.current_task()
            if current is not None and current.cancelling():  # the socket is gone, not only the host
                task.cancel()
                raise
            return None
        finally:
            self._following = None

    async def _follow(self, ask: Ask) -> str:
        """One session on the host. It has an id of its own, so nothing of an earlier one can mix in."""
        self._session = session = uuid4()
        host = self._target.host_id
        request = JournalFollow(session=session, name=self._target.name, **ask.model_dump())
        try:
            await streams.keep_lease(host, session, JOURNAL_LEASE_S)
            await asend_request(host, request)
        except RedisError as error:
            log.warning("journal_not_asked", error=str(error))
            return "The portal's Redis does not answer. The journal goes on when it does."
        await self.tell({"following": self._target.name, "source": ask.source.value})
        lease = self.spawn(self._keep_lease(host, session))
        try:
            async for batches in streams.follow(host, session):
                for raw, out in batches:
                    if out is not None and out.closed is not None:
                        return out.closed
                    if out is not None and out.entries:
                        # Validated, so the first and last bracket are those of the list: no need to write it anew.
                        inner = raw[raw.index(b"[") + 1 : raw.rindex(b"]")]
                        self._outbox.put(Piece(inner, len(out.entries)))
                        ask.cursor = out.entries[-1].cursor
        finally:
            lease.cancel()
        raise AssertionError("a stream does not end by itself")

    async def _send_entries(self, pieces: list[Piece]) -> None:
        joined = b",".join(piece.data for piece in pieces)
        await self.send(text_data=f'{{"entries":[{joined.decode()}]}}')

    async def _tell_skipped(self, count: int) -> None:
        await self.tell({"skipped": count})

    async def _keep_lease(self, host: UUID, session: UUID) -> None:
        while True:
            await asyncio.sleep(LEASE_RENEW_S)
            try:
                await streams.keep_lease(host, session, JOURNAL_LEASE_S)
            except RedisError as error:
                log.info("lease_not_renewed", error=str(error))

    async def end(self) -> None:
        if self._session is None:
            return
        try:
            await streams.drop_lease(self._target.host_id, self._session)
            await asend_request(self._target.host_id, SessionClose(session=self._session))
        except RedisError as error:
            log.info("journal_not_closed", error=str(error))  # its lease runs out by itself
