"""Waits between attempts to reach Redis or the bus: short at first, bounded, with jitter so that hosts do not march."""

from __future__ import annotations

import asyncio
import random

FIRST_S = 0.05
LAST_S = 5.0


class Backoff:
    """Call `wait()` after each failure and `reset()` after each success. Seconds."""

    def __init__(self, first: float = FIRST_S, last: float = LAST_S) -> None:
        self._first = first
        self._last = last
        self._next = first

    @property
    def failing(self) -> bool:
        """Whether the last attempt failed: lets a caller log once an outage, not once an attempt."""
        return self._next != self._first

    def reset(self) -> None:
        self._next = self._first

    async def wait(self) -> None:
        delay = self._next * random.uniform(0.75, 1.25)  # noqa: S311 - jitter, not a secret
        self._next = min(self._next * 2, self._last)
        await asyncio.sleep(delay)
