"""Lines from a stream that nobody vouches for: bounded in length, whatever the other side sends."""

from __future__ import annotations

from dataclasses import dataclass

LINE_MAX = 256 * 1024
"""Longest line in bytes that is kept whole. A journal entry of 4 kB of binary takes 20 kB as a JSON array."""


@dataclass(frozen=True)
class Line:
    """`size` is the length that the line had; more than `len(data)` means that its end was dropped."""

    data: bytes
    size: int

    @property
    def cut(self) -> bool:
        return self.size > len(self.data)


class LineSplitter:
    """Feed chunks, get lines without their newline; never holds more than `limit` bytes and a chunk."""

    def __init__(self, limit: int = LINE_MAX) -> None:
        self._limit = limit
        self._kept: list[bytes] = []
        self._kept_size = 0
        self._size = 0

    def feed(self, chunk: bytes) -> list[Line]:
        """The lines that this chunk completes."""
        *ends, rest = chunk.split(b"\n")
        lines = []
        for end in ends:
            self._keep(end)
            lines.append(self._take())
        self._keep(rest)
        return lines

    def _keep(self, part: bytes) -> None:
        self._size += len(part)
        part = part[: self._limit - self._kept_size]
        if part:
            self._kept.append(part)
            self._kept_size += len(part)

    def _take(self) -> Line:
        line = Line(b"".join(self._kept), self._size)
        self._kept, self._kept_size, self._size = [], 0, 0
        return line
