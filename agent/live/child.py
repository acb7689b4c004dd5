"""A child process whose output is read as bounded lines, and which never outlives its reader."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import Any

from agent.live.entries import visible

CHUNK = 64 * 1024
ERRORS_MAX = 4096
TERM_S = 2.0
"""How long a child may take to obey SIGTERM before it is killed."""


async def finished(work: Coroutine[Any, Any, Any], limit_s: float) -> bool:
    """Whether it ended within `limit_s` seconds; else it is cancelled. Raises what it raised.

    For clean-up, where `asyncio.timeout` is of no use: in a task that was cancelled, Python 3.11.2 (Debian 12)
    lets it end in CancelledError in place of TimeoutError.
    """
    task = asyncio.ensure_future(work)
    try:
        await asyncio.wait([task], timeout=limit_s)
        if task.done():
            task.result()
        return task.done()
    finally:
        task.cancel()


class Pipe:
    """Our end of a pipe. A child may hand the other end on (systemd-run does), so that closing ours is what counts."""

    def __init__(self, reader: asyncio.StreamReader, transport: asyncio.ReadTransport) -> None:
        self._transport = transport
        self.read = reader.read

    @classmethod
    async def open(cls) -> tuple[Pipe, int]:
        """The pipe and the descriptor for the child, which the caller closes."""
        ours, theirs = os.pipe()
        reader = asyncio.StreamReader(limit=CHUNK)
        protocol = asyncio.StreamReaderProtocol(reader)
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, os.fdopen(ours, "rb", 0))
        return cls(reader, transport), theirs

    def close(self) -> None:
        self._transport.close()


class Child:
    """Standard output to read; standard error kept, its last `ERRORS_MAX` bytes."""

    def __init__(self, process: asyncio.subprocess.Process, output: Pipe, errors: Pipe) -> None:
        self._process = process
        self._output = output
        self._errors = b""
        self._drain = asyncio.create_task(self._keep_errors(errors))

    @classmethod
    @asynccontextmanager
    async def spawn(cls, argv: Sequence[str]) -> AsyncIterator[Child]:
        """Start it in a session of its own; ended with SIGTERM, then SIGKILL. Raises OSError."""
        output, their_output = await Pipe.open()
        errors, their_errors = await Pipe.open()
        try:
            process = await asyncio.create_subprocess_exec(
                *argv,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=their_output,
                stderr=their_errors,
                start_new_session=True,
            )
            child = cls(process, output, errors)
            os.close(their_output)
            os.close(their_errors)
            their_output = their_errors = -1
            try:
                yield child
            finally:
                await child._end()
        finally:
            output.close()
            errors.close()
            for descriptor in (their_output, their_errors):
                if descriptor >= 0:
                    os.close(descriptor)

    @property
    def pid(self) -> int:
        return self._process.pid

    async def read(self) -> bytes:
        """Some output; empty at the end. May be cancelled without loss."""
        return await self._output.read(CHUNK)

    async def wait(self) -> int:
        """Exit status once it ended, and everything it said on standard error is here."""
        status = await self._process.wait()
        await asyncio.wait([self._drain], timeout=TERM_S)
        return status

    def errors(self) -> str:
        """What it said on standard error, made safe to show."""
        return visible(self._errors.decode("utf-8", "backslashreplace")).strip()

    async def _keep_errors(self, errors: Pipe) -> None:
        while data := await errors.read(ERRORS_MAX):
            self._errors = (self._errors + data)[-ERRORS_MAX:]

    def _signal(self, number: signal.Signals) -> None:
        """To it and what it started."""
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)

    async def _end(self) -> None:
        self._signal(signal.SIGTERM)
        if not await finished(self._process.wait(), TERM_S):
            self._signal(signal.SIGKILL)
            await self._process.wait()
        self._drain.cancel()
        await asyncio.wait([self._drain])
