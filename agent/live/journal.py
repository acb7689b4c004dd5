"""Follows a journal for as long as somebody looks: a container's own, or its console as the host saw it.

A container's journal is read by the container's own journalctl, started inside by its systemd: no path in the
container is ever opened from the host. Its output crosses a pipe and is trusted as little as any upload.
Cursors go end to end; a follower that resumes asks for its last entry again and drops exactly that one, so an
entry that was rotated away meanwhile costs nothing else.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any

from agent import paths
from agent.live.child import Child
from agent.live.entries import FIELDS, entry_of, fields_of, parse
from agent.live.host import UP, Host
from agent.live.inside import stop_unit
from agent.live.lines import Line, LineSplitter
from agent.live.out import OutStream
from agent.live.sessions import CONTAINER_STOPPED, Session
from contract.live import JOURNAL_LEASE_S, JournalEntry, JournalFollow, JournalSource, Out

WINDOW_S = 0.005
"""A lone line goes out at once, more of them at most this often."""
BATCH_ENTRIES = 200
BATCH_CHARS = 128 * 1024
OUT_BYTES = 32 * 1024 * 1024

_JOURNALCTL = [
    "/usr/bin/journalctl", "--no-pager", "--quiet", "--output=json", "--all", f"--output-fields={','.join(FIELDS)}",
]  # fmt: skip

Accept = Callable[[Line], JournalEntry | None]


class Batcher:
    """Gathers entries into batches for the stream."""

    def __init__(self, out: OutStream) -> None:
        self._out = out
        self._entries: list[JournalEntry] = []
        self._chars = 0
        self._flushed = 0.0

    def due_in(self) -> float | None:
        """Seconds until what waits must go; None if nothing waits."""
        return max(0.0, self._flushed + WINDOW_S - time.monotonic()) if self._entries else None

    async def add(self, entry: JournalEntry) -> None:
        self._entries.append(entry)
        self._chars += len(entry.message) + 100
        if len(self._entries) >= BATCH_ENTRIES or self._chars >= BATCH_CHARS:
            await self.flush()

    async def flush(self) -> None:
        entries, self._entries, self._chars = self._entries, [], 0
        if entries:
            await self._out.send(Out(entries=entries))
        self._flushed = time.monotonic()


async def pump(child: Child, batcher: Batcher, accept: Accept) -> None:
    """Everything that the child writes, until it ends."""
    splitter = LineSplitter()
    while True:
        try:
            async with asyncio.timeout(batcher.due_in()):
                chunk = await child.read()
        except TimeoutError:
            await batcher.flush()
            continue
        for line in splitter.feed(chunk):
            entry = accept(line)
            if entry is not None:
                await batcher.add(entry)
        if not chunk:
            return await batcher.flush()


def skip_cursor(cursor: str, accept: Accept = parse) -> Accept:
    """Drop the entry that the viewer has already."""

    def accepting(line: Line) -> JournalEntry | None:
        entry = accept(line)
        return None if entry is None or entry.cursor == cursor else entry

    return accepting


class JournalSession(Session):
    """One follower."""

    lease_s = JOURNAL_LEASE_S
    out_bytes = OUT_BYTES

    def __init__(self, request: JournalFollow, host: Host) -> None:
        super().__init__(request.session, request.name)
        self._request = request
        self._host = host
        self._inner_unit = f"nspawnweb-journal-{request.session.hex}.service"

    def container_stopped(self) -> bool:
        """The console goes on: why a container stopped, or does not start, stands there."""
        return self._request.source is JournalSource.CONTAINER

    async def run(self, out: OutStream) -> str:
        if self._request.source is JournalSource.CONSOLE:
            return await Console(self._request).run(Batcher(out))
        if await self._host.state(self.name) not in UP:
            return "The container is not running. Start it to see its journal, or look at its console."
        try:
            return await self._run_inside(Batcher(out))
        finally:
            # The far end of the pipe is gone, on which journalctl ends by itself; whatever else runs there, end it.
            await stop_unit(self.name, self._inner_unit)

    async def _run_inside(self, batcher: Batcher) -> str:
        """By the container's journalctl, as a transient unit of the container's systemd (systemd-run(1)).

        LogLevelMax= keeps what that systemd says of our unit out of the very journal that is shown.
        """
        request = self._request
        start = ["--no-tail", f"--cursor={request.cursor}"] if request.cursor else [f"--lines={request.lines}"]
        argv = [
            "systemd-run", "--quiet", f"--machine={self.name}", "--pipe", "--wait", "--collect",
            f"--unit={self._inner_unit}", "--property=LogLevelMax=err", "--",
            *_JOURNALCTL, "--follow", *start,
        ]  # fmt: skip
        async with Child.spawn(argv) as child:
            await pump(child, batcher, skip_cursor(request.cursor))
            status = await child.wait()
            return await self._why_it_ended(status, child.errors())

    async def _why_it_ended(self, status: int, errors: str) -> str:
        if await self._host.state(self.name) not in UP:
            return CONTAINER_STOPPED
        why = errors.splitlines()[-1][:500] if errors else f"journalctl ended with status {status}."
        hint = "The container needs a running systemd, dbus and journalctl; its console needs none of them."
        return f"The container's journal cannot be read. {why} {hint}"


class Console:
    """The host's journal of the container's unit: what it printed, and what systemd says of it.

    `journalctl -u UNIT -f` was seen to lose lines under load. So the past is read filtered and without following,
    and the present followed unfiltered, and filtered here.
    """

    def __init__(self, request: JournalFollow) -> None:
        self._request = request
        self._unit = paths.unit_name(request.name)
        self._mark = self._unit.encode()
        self._shown: set[str] = set()

    async def run(self, batcher: Batcher) -> str:
        newest = await self._newest_cursor()
        await self._past(batcher)
        start = [f"--cursor={newest}"] if newest else []
        async with Child.spawn([*_JOURNALCTL, "--follow", "--no-tail", *start]) as child:
            await pump(child, batcher, skip_cursor(newest, self._present))
            status = await child.wait()
            return f"The host's journal cannot be read. {child.errors()[-500:] or f'journalctl ended with {status}.'}"

    async def _newest_cursor(self) -> str:
        """Of any entry on the host: from here on the present is followed."""
        newest = ""
        async with Child.spawn([*_JOURNALCTL, "--lines=1"]) as child:
            splitter = LineSplitter()
            while chunk := await child.read():
                for line in splitter.feed(chunk):
                    entry = parse(line)
                    newest = entry.cursor if entry else newest
        return newest

    async def _past(self, batcher: Batcher) -> None:
        request = self._request
        start = [f"--cursor={request.cursor}"] if request.cursor else [f"--lines={request.lines}"]
        async with Child.spawn([*_JOURNALCTL, f"--unit={self._unit}", *start]) as child:
            await pump(child, batcher, skip_cursor(request.cursor, self._remember))

    def _remember(self, line: Line) -> JournalEntry | None:
        entry = parse(line)
        if entry is not None:
            self._shown.add(entry.cursor)
        return entry

    def _present(self, line: Line) -> JournalEntry | None:
        """An entry of the unit that was not among the past ones."""
        if self._mark not in line.data:
            return None
        fields = fields_of(line)
        if fields is None or not _belongs(fields, self._unit):
            return None
        entry = entry_of(fields)
        if entry is None or entry.cursor in self._shown:
            return None
        return entry


def _belongs(fields: Mapping[str, Any], unit: str) -> bool:
    """What `journalctl -u` takes (add_matches_for_unit in systemd): only trusted fields and the manager's word."""
    if fields.get("_SYSTEMD_UNIT") == unit:
        return True
    if fields.get("_PID") == "1" and fields.get("UNIT") == unit:
        return True
    return bool(fields.get("_UID") == "0" and fields.get("OBJECT_SYSTEMD_UNIT") == unit)
