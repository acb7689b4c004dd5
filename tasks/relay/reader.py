"""The relay's loop: wait on every enrolled host's streams, store a batch in one transaction, trim what is stored.

Where it stands is kept nowhere but in the streams themselves: what is stored is trimmed, what is not is read again.
A crash between the two, or a second relay, only makes duplicates, which the database takes once.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import redis.asyncio
import structlog
from asgiref.sync import sync_to_async
from django.conf import settings
from django.db import InterfaceError, OperationalError, connection, transaction
from pydantic import ValidationError
from redis.exceptions import RedisError

from contract import keys
from contract.events import EVENT, Event
from contract.live import STATE, StateMessage
from tasks.redis import TIMEOUT_S
from tasks.registry import handlers
from tasks.relay.ingest import Told, ingest, reject

log = structlog.get_logger(__name__)
BATCH = 500
"""Most entries of one stream in one transaction."""
HOSTS_EVERY_S = 0.8
"""How often the list of hosts is read: a newly enrolled one is heard within a second."""
BLOCK_MS = 500
PAUSE_MAX_S = 2.0
_DOWN = (OperationalError, InterfaceError)


@dataclass(frozen=True)
class Entry:
    """One entry of one host's stream."""

    host_id: UUID
    host_name: str
    is_event: bool
    id: bytes
    raw: bytes

    @property
    def received(self) -> datetime:
        """When Redis took it: the first half of the entry's id, in milliseconds."""
        return datetime.fromtimestamp(int(self.id.partition(b"-")[0]) / 1000, UTC)


class Relay:
    """`run` until cancelled. A Redis or a database that is away is waited for."""

    def __init__(self) -> None:
        self._hosts: dict[UUID, str] = {}
        self._hosts_at = 0.0
        self._after: dict[bytes, bytes] = {}
        """Stream -> the last entry stored. What was read but could not be trimmed is not read twice."""

    async def run(self) -> None:
        pause = 0.1
        while True:
            try:
                async with contextlib.aclosing(_connect()) as client:
                    self._after.clear()  # Redis may have been emptied: its entry ids may begin anew
                    log.info("relay_reading")
                    while True:
                        await self.step(client)
                        _check_cancelled()
                        pause = 0.1
            except (RedisError, OSError, *_DOWN) as error:
                log.warning("relay_waits", error=str(error), seconds=pause)
                await sync_to_async(_drop_connection)()
                await asyncio.sleep(pause)
                pause = min(pause * 2, PAUSE_MAX_S)

    async def step(self, client: redis.asyncio.Redis) -> int:
        """Wait for entries, store them, trim; how many there were."""
        await self._refresh_hosts()
        streams = self._streams()
        if not streams:
            await asyncio.sleep(HOSTS_EVERY_S)
            return 0
        answer: Any = await client.xread(streams, count=BATCH, block=BLOCK_MS)  # type: ignore[arg-type]
        entries = [entry for key, rows in answer or [] for entry in self._entries(key, rows)]
        if entries:
            await sync_to_async(store)(entries)
            for key, rows in answer:
                self._after[key] = rows[-1][0]
            await self._trim(client, {key: rows[-1][0] for key, rows in answer})
        return len(entries)

    async def _refresh_hosts(self) -> None:
        now = asyncio.get_running_loop().time()
        if now - self._hosts_at >= HOSTS_EVERY_S:
            self._hosts = await sync_to_async(_hosts)()
            self._hosts_at = now

    def _streams(self) -> dict[bytes, bytes]:
        names = [name for host in self._hosts for name in (keys.events(host), keys.state(host))]
        return {name.encode(): self._after.get(name.encode(), b"0-0") for name in names}

    def _entries(self, key: bytes, rows: list[tuple[bytes, dict[bytes, bytes]]]) -> Iterable[Entry]:
        text = key.decode()
        host_id = UUID(text.split(":")[1])
        is_event = text == keys.events(host_id)
        for entry_id, fields in rows:
            raw = (fields or {}).get(keys.FIELD.encode(), b"")
            yield Entry(host_id, self._hosts.get(host_id, str(host_id)), is_event, entry_id, raw)

    async def _trim(self, client: redis.asyncio.Redis, stored: dict[bytes, bytes]) -> None:
        """XTRIM MINID drops what is older than the id given: the one after the last that is stored."""
        pipe = client.pipeline(transaction=False)
        for key, entry_id in stored.items():
            head, _, tail = entry_id.partition(b"-")
            pipe.xtrim(key, minid=head + b"-" + str(int(tail) + 1).encode(), approximate=False)
        await pipe.execute()


def _check_cancelled() -> None:
    """Code that waits for a thread (asgiref's sync_to_async) may take a cancellation for its own; it is ours."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


def _connect() -> redis.asyncio.Redis:
    # The socket's own limit must outlast the blocking read.
    return redis.asyncio.Redis.from_url(
        settings.REDIS_URL, socket_connect_timeout=TIMEOUT_S, socket_timeout=BLOCK_MS / 1000 + TIMEOUT_S
    )


def _hosts() -> dict[UUID, str]:
    return handlers().enrolled_hosts()


def _drop_connection() -> None:
    """After an error of the database, or before waiting for it: never go on with a broken connection."""
    if not connection.in_atomic_block:
        connection.close()


def store(entries: list[Entry]) -> None:
    """Store a batch. If something in it breaks the transaction, one by one, and skip what cannot be stored."""
    try:
        with transaction.atomic():
            _store(entries)
        return
    except _DOWN:
        raise
    except Exception:
        log.exception("batch_failed", entries=len(entries))
    for entry in entries:
        _store_alone(entry)


def _store_alone(entry: Entry) -> None:
    try:
        with transaction.atomic():
            _store([entry])
    except _DOWN:
        raise
    except Exception as error:
        log.exception("entry_skipped", host=entry.host_name, id=entry.id.decode())
        reject(entry.host_id, entry.host_name, "unusable_message", f"{type(error).__name__}: {error}")


def _store(entries: list[Entry]) -> None:
    told: list[Told] = []
    states: list[tuple[Entry, StateMessage]] = []
    for entry in entries:
        message = _parse(entry)
        if isinstance(message, Event):
            told.append(Told(entry.host_id, entry.host_name, message))
        elif message is not None:
            states.append((entry, message))
    ingest(told)
    for entry, state in states:
        handlers().on_host_state(entry.host_id, state, entry.received)


def _parse(entry: Entry) -> Event | StateMessage | None:
    try:
        return EVENT.validate_json(entry.raw) if entry.is_event else STATE.validate_json(entry.raw)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        reject(entry.host_id, entry.host_name, "malformed_message", f"{where}: {first['msg']}")
        return None
