"""What a person types, on its way to the host: signed, numbered, and no faster than the host should have to take."""

from __future__ import annotations

import asyncio
import base64
import time
from uuid import UUID

import structlog
from redis.exceptions import RedisError

from contract.live import TerminalInput, TerminalResize
from tasks.live.base import BadMessage
from tasks.requests import asend_request

log = structlog.get_logger(__name__)

CHUNK = 32 * 1024
"""Bytes in one request; base64 makes them a third more, which stays below contract.live.INPUT_MAX."""
MESSAGE_MAX = 1024 * 1024
"""Largest binary message in bytes. A paste may be large; a file belongs elsewhere."""
HELD_MAX = 256 * 1024
"""What may wait here; beyond it the browser's socket is not read."""
GAP_S = 0.008
"""Pause between two requests: typing goes at once, a flood goes in larger pieces (at most 4 MB/s, 125 a second)."""


class Keyboard:
    """Input of one attached viewer. `seq` is the number of the last input.

    Numbers are nanoseconds of the clock, so they rise over reconnects and between processes; `seq` of the stored row
    keeps them rising also when the clock was set back.
    """

    def __init__(self, host_id: UUID, session: UUID, seq: int) -> None:
        self._host_id = host_id
        self._session = session
        self.seq = seq
        self._held = bytearray()
        self._size: tuple[int, int] | None = None
        self._some = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()

    async def type(self, data: bytes) -> None:
        """Take keystrokes; waits while too much is held. Raises BadMessage if it is more than anybody pastes."""
        if len(data) > MESSAGE_MAX:
            raise BadMessage("So much cannot be typed at once. Copy a file into the container instead.")
        for start in range(0, len(data), CHUNK):
            await self._room.wait()
            self._held += data[start : start + CHUNK]
            if len(self._held) >= HELD_MAX:
                self._room.clear()
            self._some.set()

    def resize(self, cols: int, rows: int) -> None:
        """The last size counts."""
        self._size = cols, rows
        self._some.set()

    async def run(self) -> None:
        """Send until cancelled. What a Redis that is away does not take is sent when it is back, in order."""
        while True:
            await self._some.wait()
            try:
                await self._send()
            except (RedisError, OSError) as error:
                log.info("input_waits", session=str(self._session), error=str(error))
                await asyncio.sleep(1)
                continue
            if not self._held and self._size is None:
                self._some.clear()
            await asyncio.sleep(GAP_S)

    async def _send(self) -> None:
        if self._size is not None:
            size, self._size = self._size, None
            await asend_request(self._host_id, TerminalResize(session=self._session, cols=size[0], rows=size[1]))
        if not self._held:
            return
        chunk = bytes(self._held[:CHUNK])
        self.seq = max(time.time_ns(), self.seq + 1)
        data = base64.b64encode(chunk).decode()
        await asend_request(self._host_id, TerminalInput(session=self._session, seq=self.seq, data=data))
        del self._held[: len(chunk)]
        if len(self._held) < HELD_MAX:
            self._room.set()
