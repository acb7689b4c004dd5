"""Manners of loops that talk to Redis or the bus: how to wait after a failure, and how to end when told to."""

from __future__ import annotations

import asyncio
import random

FIRST_S = 0.05
LAST_S = 5.0


def obey_cancel() -> None:
    """Raise CancelledError if this task was told to end. Call it after each round trip to Redis.

    Before Python 3.12 `asyncio.wait_for`, with which redis-py sends, loses a cancellation that comes in the very
    moment in which it is done (python/cpython issue 86296). The task would then go on for ever.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


class Backoff:
    """Short waits at first, bounded, with jitter so that hosts do not march in step, in seconds.

    Call `wait()` after each failure and `reset()` after each success.
    """

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
