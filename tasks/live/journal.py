"""/ws/containers/<id>/journal/: a container's journal, from a cursor on or its last lines, then as it grows."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID, uuid4

import structlog
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from redis.exceptions import RedisError

from contract.live import JOURNAL_LEASE_S, JournalFollow, JournalSource, Out, SessionClose
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


class Ask(BaseModel):
    """The first message."""

    model_config = ConfigDict(extra="forbid")

    source: JournalSource = JournalSource.CONTAINER
    cursor: str = Field(default="", max_length=512, pattern=r"^[A-Za-z0-9=;_-]*$")
    lines: int = Field(default=500, ge=0, le=10_000)


class Journal(PortalSocket):
    """Follows until the browser leaves. While the host is offline it says so, and goes on where it was afterwards."""

    async def begin(self) -> None:
        self._container: UUID = self.scope["url_route"]["kwargs"]["container"]
        self._ask: Ask | None = None
        self._following: asyncio.Task[None] | None = None
        self._session: UUID | None = None
        self._outbox = Outbox(self._send_entries, self._tell_skipped, bytes_max=BUFFER_BYTES)
        self._target = await self._resolve()
        await self.join(group(f"host:{self._target.host_id}"))

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
        await self._follow_or_wait()

    async def topic_changed(self, message: Any) -> None:
        """Something about the host: it may have gone or come."""
        self.check_soon()

    async def check(self) -> None:
        was, self._target = self._target, await self._resolve()
        if self._ask is not None and was.online != self._target.online:
            await self._follow_or_wait()

    async def _follow_or_wait(self) -> None:
        if self._following is not None:
            self._following.cancel()
            self._following = None
        if self._target.online:
            self._following = self.spawn(self._follow())
        else:
            host = self._target.host_name
            await self.tell({"offline": f"Host {host} is offline. The journal goes on when it returns."})

    async def _follow(self) -> None:
        """One session on the host. It has an id of its own, so nothing of an earlier one can mix in."""
        assert self._ask is not None  # noqa: S101 - set before this is spawned
        self._session = session = uuid4()
        host = self._target.host_id
        request = JournalFollow(session=session, name=self._target.name, **self._ask.model_dump())
        try:
            await streams.keep_lease(host, session, JOURNAL_LEASE_S)
            await asend_request(host, request)
        except RedisError as error:
            log.warning("journal_not_asked", error=str(error))
            return await self.finish("The portal's Redis does not answer. Try again.", word="unavailable")
        await self.tell({"following": self._target.name, "source": self._ask.source.value})
        lease = self.spawn(self._keep_lease(host, session))
        try:
            async for batches in streams.follow(host, session):
                for raw, out in batches:
                    if await self._take(raw, out):
                        return
        finally:
            lease.cancel()

    async def _take(self, raw: bytes, out: Out | None) -> bool:
        """Pass a batch on. True if it was the last."""
        if out is None:
            return False
        if out.closed is not None:
            await self._outbox.drain()
            await self.finish(out.closed, word="ended")
            return True
        if out.entries:
            # Validated above, so the first and last bracket are those of the list: no need to write it anew.
            inner = raw[raw.index(b"[") + 1 : raw.rindex(b"]")]
            self._outbox.put(Piece(inner, len(out.entries)))
            assert self._ask is not None  # noqa: S101
            self._ask.cursor = out.entries[-1].cursor
        return False

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
