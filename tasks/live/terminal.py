"""/ws/terminal/: a shell in a container. A reload comes back to it; a withdrawn right ends it."""

from __future__ import annotations

import asyncio
import base64
from typing import Any

import structlog
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from redis.exceptions import RedisError

from contract.live import TERMINAL_LEASE_S, Out, TerminalOpen, TerminalResize
from tasks.live import streams, terminals, tickets
from tasks.live.base import BadMessage, PortalSocket
from tasks.live.keyboard import Keyboard
from tasks.live.outbox import Outbox, Piece
from tasks.live.registry import Target, resolve_container
from tasks.live.screen import replayed
from tasks.models import TerminalSession
from tasks.requests import asend_request
from teams.errors import PortalError, Unavailable
from teams.permissions import Permission

log = structlog.get_logger(__name__)

BUFFER_BYTES = 2 * 1024 * 1024
REPLAY_BYTES = 512 * 1024
FIRST_MESSAGE_S = 15.0


class Attach(BaseModel):
    """The first message."""

    model_config = ConfigDict(extra="forbid")

    ticket: str = Field(max_length=200)
    cols: int = Field(default=80, ge=2, le=1000)
    rows: int = Field(default=24, ge=2, le=1000)


class Resize(BaseModel):
    model_config = ConfigDict(extra="forbid")

    resize: tuple[int, int]


class Terminal(PortalSocket):
    """Binary both ways. Closing the socket leaves the shell for TERMINAL_LEASE_S seconds; {"end": true} ends it."""

    async def begin(self) -> None:
        self._row: TerminalSession | None = None
        self._attaching = False
        self._outbox = Outbox(self._send_output, self._tell_skipped, bytes_max=BUFFER_BYTES)
        self.spawn(self._await_first())

    async def _await_first(self) -> None:
        """A socket that never shows a ticket is not kept."""
        await asyncio.sleep(FIRST_MESSAGE_S)
        if not self._attaching:
            raise BadMessage("No ticket came.")

    async def on_text(self, message: dict[str, Any]) -> None:
        if not self._attaching:
            self._attaching = True
            await self._attach(_read(Attach, message))
        elif self._row is None:
            raise BadMessage("The terminal is not open yet.")
        elif message == {"end": True}:
            await self.db(terminals.end, self._row, "It was closed.")
            await self.finish("It was closed.", word="ended")
        else:
            cols, rows = _read(Resize, message).resize
            if not (2 <= cols <= 1000 and 2 <= rows <= 1000):
                raise BadMessage("A terminal has 2 to 1000 columns and rows.")
            self._keyboard.resize(cols, rows)

    async def on_bytes(self, data: bytes) -> None:
        if self._row is None:
            raise BadMessage("The terminal is not open yet.")
        await self._keyboard.type(data)

    async def _attach(self, first: Attach) -> None:
        row = await self.db(tickets.redeem, by=self.user, session_key=self.session_key, ticket=first.ticket)
        target = await self._resolve(row)
        try:
            position = await self._open(row, target, first)
        except RedisError as error:
            log.warning("terminal_not_opened", error=str(error))
            raise Unavailable("redis_down", "The terminal cannot be opened.", "Redis does not answer.") from error
        if position is None:
            return
        self._row = row
        self._keyboard = Keyboard(row.host_id, row.pk, row.input_seq)
        self.spawn(self._keyboard.run())
        self.spawn(self._follow(row, position))

    async def _open(self, row: TerminalSession, target: Target, first: Attach) -> str | None:
        """Ask the host for the shell, or show again what it showed. The position to follow from; None: it is over."""
        host, size = row.host_id, {"cols": first.cols, "rows": first.rows}
        if row.requested_at is None and await self.db(terminals.opened, row, target):
            await streams.keep_lease(host, row.pk, TERMINAL_LEASE_S)
            await asend_request(host, TerminalOpen(session=row.pk, name=row.container_name, **size))
        elif await streams.lease_lives(host, row.pk):
            await streams.keep_lease(host, row.pk, TERMINAL_LEASE_S)
            await asend_request(host, TerminalResize(session=row.pk, **size))
        else:
            await self.db(terminals.closed, row, terminals.EXPIRED, team_id=target.team_id)
            await self.finish(terminals.EXPIRED, word="ended")
            return None
        await self.tell({"ready": True, "session": str(row.pk)})
        self.spawn(self._outbox.run())
        past, position = await streams.newest(host, row.pk, REPLAY_BYTES * 4 // 3)
        shown = replayed(b"".join(_bytes(out) for out in past), REPLAY_BYTES)
        if shown:
            self._outbox.put(Piece(shown, len(shown)))
        ended = next((out.closed for out in past if out.closed is not None), None)
        if ended is not None:
            await self._ended(row, ended)
            return None
        return position

    async def _follow(self, row: TerminalSession, position: str) -> None:
        async for batches in streams.follow(row.host_id, row.pk, position):
            for _, out in batches:
                if out is None:
                    continue
                if out.closed is not None:
                    return await self._ended(row, out.closed)
                if data := _bytes(out):
                    self._outbox.put(Piece(data, len(data)))

    async def _ended(self, row: TerminalSession, reason: str) -> None:
        await self.db(terminals.closed, row, reason)
        await self._outbox.drain()
        await self.finish(reason, word="ended")

    async def _send_output(self, pieces: list[Piece]) -> None:
        await self.send(bytes_data=b"".join(piece.data for piece in pieces))

    async def _tell_skipped(self, count: int) -> None:
        await self.tell({"skipped": count})

    async def _resolve(self, row: TerminalSession) -> Target:
        found: Target = await self.db(resolve_container, self.user, row.container_id, Permission.CONTAINER_TERMINAL)
        return found

    async def check(self) -> None:
        """Still theirs? Then the lease goes on; else the shell ends, and not only the view of it."""
        row = self._row
        if row is None:
            return
        try:
            await self._resolve(row)
        except PortalError:
            await self.db(terminals.end, row, terminals.WITHDRAWN)
            raise
        if await self.db(_is_closed, row):
            return await self.finish(row.closed_reason or "It was closed.", word="ended")
        await self._remember(row)

    async def _remember(self, row: TerminalSession) -> None:
        """Keep the shell for the next while, and the number of the last input."""
        await self.db(_save_seq, row, self._keyboard.seq)
        try:
            await streams.keep_lease(row.host_id, row.pk, TERMINAL_LEASE_S)
        except RedisError as error:
            log.info("lease_not_renewed", error=str(error))

    async def signed_out(self) -> None:
        if self._row is not None:
            await self.db(terminals.end, self._row, terminals.SIGNED_OUT)
        await super().signed_out()

    async def end(self) -> None:
        row = getattr(self, "_row", None)
        if row is not None and not await self.db(_is_closed, row):
            await self._remember(row)


def _read(model: type[Any], message: dict[str, Any]) -> Any:
    try:
        return model.model_validate(message)
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        raise BadMessage(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None


def _bytes(out: Out) -> bytes:
    return base64.b64decode(out.data) if out.data else b""


def _is_closed(row: TerminalSession) -> bool:
    row.refresh_from_db(fields=["closed_at", "closed_reason"])
    return row.closed_at is not None


def _save_seq(row: TerminalSession, seq: int) -> None:
    TerminalSession.objects.filter(pk=row.pk, input_seq__lt=seq).update(input_seq=seq)
