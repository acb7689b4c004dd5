"""A child process whose output is read as bounded lines, and which never outlives its reader."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from agent.live.entries import visible

CHUNK = 64 * 1024
ERRORS_MAX = 4096
TERM_S = 2.0
"""How long a child may take to obey SIGTERM before it is killed."""


class Child:
    """Standard output to read; standard error kept, its last `ERRORS_MAX` bytes."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._errors = b""
        self._drain = asyncio.create_task(self._keep_errors())

    @classmethod
    @asynccontextmanager
    async def spawn(cls, argv: Sequence[str]) -> AsyncIterator[Child]:
        """Start it in a session of its own; ended with SIGTERM, then SIGKILL. Raises OSError."""
        process = await asyncio.create_subprocess_exec(
            *argv,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=CHUNK,
            start_new_session=True,
        )
        child = cls(process)
        try:
            yield child
        finally:
            await child._end()

    @property
    def pid(self) -> int:
        return self._process.pid

    async def read(self) -> bytes:
        """Some output; empty at the end. May be cancelled without loss."""
        assert self._process.stdout is not None  # noqa: S101 - asked for by spawn
        return await self._process.stdout.read(CHUNK)

    async def wait(self) -> int:
        """Exit status once it ended, and everything it said on standard error is here."""
        status = await self._process.wait()
        await asyncio.wait([self._drain], timeout=TERM_S)
        return status

    def errors(self) -> str:
        """What it said on standard error, made safe to show."""
        return visible(self._errors.decode("utf-8", "backslashreplace")).strip()

    async def _keep_errors(self) -> None:
        assert self._process.stderr is not None  # noqa: S101 - asked for by spawn
        while data := await self._process.stderr.read(ERRORS_MAX):
            self._errors = (self._errors + data)[-ERRORS_MAX:]

    async def _end(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()
        try:
            async with asyncio.timeout(TERM_S):
                await self._process.wait()
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()
        self._drain.cancel()
        await asyncio.wait([self._drain])
