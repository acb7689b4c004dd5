"""Output of a transient unit, from the journal by cursor: nothing twice, nothing lost, also over a restart."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from agent.operations.context import Context

_BATCH_S = 0.1
"""Lines that come within this time travel in one event."""
_SILENCE_S = 3.0
"""After so long without a line look by ourselves: inotify may be used up or say nothing on this file system."""
_LINE_LIMIT = 1024 * 1024
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b\][^\x07]*\x07|[\x00-\x08\x0b-\x1f\x7f]")


def _argv(unit: str, cursor: str, *more: str) -> list[str]:
    """journalctl(1). Only what the unit's processes wrote, not what systemd says of the unit."""
    after = [f"--after-cursor={cursor}"] if cursor else []
    fields = "--output-fields=MESSAGE"
    return ["journalctl", "--quiet", "--output=json", fields, *after, *more, f"_SYSTEMD_UNIT={unit}"]


def _parse(raw: bytes) -> tuple[str, list[str]]:
    """(cursor, lines) of one entry. MESSAGE is a string, an array of bytes, or null if it was too large."""
    entry = json.loads(raw)
    message = entry.get("MESSAGE")
    if isinstance(message, list):
        message = bytes(message).decode(errors="replace")
    text = "(a line too long to show)" if message is None else str(message)
    # Progress that a program draws over itself: what stood last counts.
    lines = [_ESCAPES.sub("", line.rstrip("\r").rpartition("\r")[2]) for line in text.split("\n")]
    return entry["__CURSOR"], lines


@asynccontextmanager
async def _journalctl(argv: list[str]) -> AsyncIterator[asyncio.StreamReader]:
    process = await asyncio.create_subprocess_exec(
        *argv, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, limit=_LINE_LIMIT
    )
    try:
        assert process.stdout is not None  # noqa: S101 - for the type checker: it was asked for
        yield process.stdout
    finally:
        if process.returncode is None:
            # Not process.kill(): its poll() would take the exit code away from under asyncio's child watcher.
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)
        await process.wait()


async def _take(reader: asyncio.StreamReader) -> tuple[str, list[str]] | None:
    raw = await reader.readline()
    return _parse(raw) if raw else None


async def _batches(reader: asyncio.StreamReader, silence_s: float | None) -> AsyncIterator[tuple[str, list[str]]]:
    """Entries, gathered for a tenth of a second. Raises TimeoutError after a silence, if one is given."""
    while True:
        async with asyncio.timeout(silence_s):
            first = await _take(reader)
        if first is None:
            return
        cursor, lines = first
        deadline = asyncio.get_running_loop().time() + _BATCH_S
        try:
            async with asyncio.timeout_at(deadline):
                while len(lines) < 150 and (entry := await _take(reader)):
                    cursor = entry[0]
                    lines += entry[1]
        except TimeoutError:
            pass
        yield cursor, lines


async def _ship(
    ctx: Context, reader: asyncio.StreamReader, on_line: Callable[[str], None], silence_s: float | None = None
) -> None:
    async for cursor, lines in _batches(reader, silence_s):
        ctx.output(lines, cursor=cursor)
        ctx.cursor = cursor
        for line in lines:
            on_line(line)


async def _ship_for_ever(ctx: Context, unit: str, on_line: Callable[[str], None]) -> None:
    """Each follower begins after the last line that was taken, so changing it loses and repeats nothing."""
    while True:
        async with _journalctl(_argv(unit, ctx.cursor, "--follow", "--no-tail")) as reader:
            with contextlib.suppress(TimeoutError):
                await _ship(ctx, reader, on_line, _SILENCE_S)
                await asyncio.sleep(_SILENCE_S)  # it ended by itself: not at once again


async def _ended(ctx: Context, unit: str) -> None:
    """Until the unit's process has ended: it stays loaded as "exited" or "failed" (RemainAfterExit=)."""
    async with ctx.systemd.changes(unit) as changes:
        while True:
            now = await ctx.systemd.unit(unit)
            if now["SubState"] == "exited" or now["ActiveState"] in ("failed", "inactive"):
                return
            await changes.next()


async def follow_unit(ctx: Context, unit: str, on_line: Callable[[str], None]) -> dict[str, Any]:
    """Emit the unit's output until it ended; its service properties (Result, ExecMainStatus)."""
    shipping = asyncio.ensure_future(_ship_for_ever(ctx, unit, on_line))
    try:
        await _ended(ctx, unit)
    finally:
        shipping.cancel()
        await asyncio.gather(shipping, return_exceptions=True)
    await _sync()
    async with _journalctl(_argv(unit, ctx.cursor)) as reader:
        await _ship(ctx, reader, on_line)
    return await ctx.systemd.service(unit)


async def _sync() -> None:
    """Ask journald to write down what it has read so far."""
    async with _journalctl(["journalctl", "--sync"]) as reader:
        await reader.read()


async def last_lines(unit: str, count: int, *, cursor: str = "") -> list[str]:
    """The unit's last lines, also those of before a restart of the agent."""
    found: list[str] = []
    async with _journalctl(_argv(unit, cursor, f"--lines={count}")) as reader:
        while entry := await _take(reader):
            found += entry[1]
    return found
