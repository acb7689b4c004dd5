"""Lines from a stream that nobody vouches for: bounded in length, whatever the other side sends."""

from __future__ import annotations

from dataclasses import dataclass

LINE_MAX = 256 * 1024
"""Longest line in bytes that is kept whole. A journal entry of 4 kB of binary takes 20 kB as a JSON array."""
TAIL = 16 * 1024
"""Of a longer line, so many of its last bytes are kept, beside its start: small fields may stand there."""


@dataclass(frozen=True)
class Line:
    """`size` is the length that the line had; when `cut`, `data` is its start, a newline, and its end."""

    data: bytes
    size: int

    @property
    def cut(self) -> bool:
        return self.size > len(self.data)


class LineSplitter:
    """Feed chunks, get lines without their newline; never holds more than `limit` bytes and a chunk."""

    def __init__(self, limit: int = LINE_MAX, tail: int = TAIL) -> None:
        self._head_max = limit - tail - 1
        self._tail_max = tail
        self._limit = limit
        self._head: list[bytes] = []
        self._head_size = 0
        self._tail = b""
        self._size = 0

    def feed(self, chunk: bytes) -> list[Line]:
        """The lines that this chunk completes."""
        *ends, rest = chunk.split(b"\n")
        lines = []
        for end in ends:
            if self._size == 0 and len(end) <= self._limit:
                lines.append(Line(end, len(end)))
                continue
            self._keep(end)
            lines.append(self._take())
        self._keep(rest)
        return lines

    def _keep(self, part: bytes) -> None:
        self._size += len(part)
        start, rest = part[: self._head_max - self._head_size], part[self._head_max - self._head_size :]
        if start:
            self._head.append(start)
            self._head_size += len(start)
        if rest:
            self._tail += rest
            if self._size > self._limit:
                self._tail = self._tail[-self._tail_max :]

    def _take(self) -> Line:
        head, tail = b"".join(self._head), self._tail
        whole = len(head) + len(tail) == self._size
        line = Line(head + tail if whole else head + b"\n" + tail, self._size)
        self._head, self._head_size, self._tail, self._size = [], 0, b"", 0
        return line
