"""What is on its way to one viewer. A slow viewer costs a bounded amount of memory and is told what was left out."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

FRAME_BYTES = 256 * 1024
"""Pieces that wait together are sent together, up to about this size."""
DRAIN_S = 5.0


@dataclass(frozen=True)
class Piece:
    """Part of a frame; `count` is what a viewer misses if it is dropped (lines, bytes)."""

    data: bytes
    count: int


class Outbox:
    """Keeps the newest pieces, at most `bytes_max` of them; drops the oldest and counts what they held.

    `send` gets the pieces of a frame, `skipped` the number that was dropped before the next one.
    """

    def __init__(
        self,
        send: Callable[[list[Piece]], Awaitable[None]],
        skipped: Callable[[int], Awaitable[None]],
        *,
        bytes_max: int,
    ) -> None:
        self._send = send
        self._tell_skipped = skipped
        self._bytes_max = bytes_max
        self._pieces: deque[Piece] = deque()
        self._bytes = 0
        self._skipped = 0
        self._some = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()

    def put(self, piece: Piece) -> None:
        self._pieces.append(piece)
        self._bytes += len(piece.data)
        while self._bytes > self._bytes_max and len(self._pieces) > 1:
            dropped = self._pieces.popleft()
            self._bytes -= len(dropped.data)
            self._skipped += dropped.count
        self._idle.clear()
        self._some.set()

    async def run(self) -> None:
        """Send until cancelled. `send` must wait while the viewer does not read."""
        while True:
            await self._some.wait()
            if self._skipped:
                skipped, self._skipped = self._skipped, 0
                await self._tell_skipped(skipped)
            await self._send(self._take())
            if not self._pieces:
                self._some.clear()
                self._idle.set()

    async def drain(self) -> None:
        """Wait until all is sent, but not for ever on a viewer that does not read."""
        try:
            async with asyncio.timeout(DRAIN_S):
                await self._idle.wait()
        except TimeoutError:
            return

    def _take(self) -> list[Piece]:
        taken = [self._pieces.popleft()]
        size = len(taken[0].data)
        while self._pieces and size + len(self._pieces[0].data) <= FRAME_BYTES:
            taken.append(self._pieces.popleft())
            size += len(taken[-1].data)
        self._bytes -= size
        return taken
