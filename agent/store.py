"""The agent's memory: a journal of jobs, and an outbox of events, in SQLite (WAL), safe over processes.

Job workers append; the live service alone ships the outbox, in order. Events stay for `KEEP_S` so that the
portal can ask for them again.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from uuid import UUID

from agent import nudge, paths
from contract.events import Body, Event, Finished, Refused
from contract.orders import Order

KEEP_S = 30 * 24 * 3600
"""How long events of finished jobs are kept, in seconds."""

_INHERITED: list[sqlite3.Connection] = []
"""Connections that came over a fork: neither used nor closed here, as that could harm the parent's
(sqlite.org/howtocorrupt, section 2.6)."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS job (
    id TEXT PRIMARY KEY, digest TEXT NOT NULL, state TEXT NOT NULL, text TEXT NOT NULL, attempt INTEGER NOT NULL,
    next_seq INTEGER NOT NULL, cursor TEXT NOT NULL DEFAULT '', begun REAL NOT NULL, ended REAL
) STRICT;
CREATE TABLE IF NOT EXISTS event (
    id INTEGER PRIMARY KEY AUTOINCREMENT, job TEXT, seq INTEGER NOT NULL, at REAL NOT NULL, text TEXT NOT NULL,
    UNIQUE (job, seq)
) STRICT;
CREATE TABLE IF NOT EXISTS outbox (id INTEGER PRIMARY KEY AUTOINCREMENT, event INTEGER NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS cancel (job TEXT PRIMARY KEY, at REAL NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS request (id TEXT PRIMARY KEY, expires REAL NOT NULL) STRICT;
"""


class ClaimKind(StrEnum):
    NEW = "new"
    RESUME = "resume"
    """The agent died in the middle of it."""
    FINISHED = "finished"
    """It ran to its end already; its last event was queued again."""
    REPLAYED = "replayed"
    """Another order bears the id of one that we know."""


@dataclass(frozen=True)
class Claim:
    """`attempt` counts from 1; `cursor` is the journal cursor up to which output was taken."""

    kind: ClaimKind
    attempt: int
    cursor: str = ""


def order_digest(order: Order) -> str:
    """Tells a redelivery from another order under the same id."""
    return hashlib.sha256(order.model_dump_json().encode()).hexdigest()


class Store:
    """One a process tree; connections are made anew for each thread."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path or paths.store_path()
        self._local = threading.local()
        self._receiver: nudge.Receiver | None = None
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._connection().executescript(_SCHEMA)

    def _connection(self) -> sqlite3.Connection:
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is not None and self._local.pid != os.getpid():
            _INHERITED.append(connection)
            connection = None
        if connection is None:
            connection = sqlite3.connect(self._path, timeout=30, isolation_level=None)
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=NORMAL")
            self._local.connection, self._local.pid = connection, os.getpid()
        return connection

    def close(self) -> None:
        """Close this thread's connection and the waiting end."""
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is not None:
            connection.close()
            self._local.connection = None
        if self._receiver is not None:
            self._receiver.close()
            self._receiver = None

    @contextmanager
    def _transaction(self, *, durable: bool = False) -> Iterator[sqlite3.Connection]:
        """IMMEDIATE: whoever writes waits at the start, never in the middle. `durable` survives a power cut."""
        connection = self._connection()
        if durable:
            connection.execute("PRAGMA synchronous=FULL")
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield connection
            connection.execute("COMMIT")
        except BaseException:
            connection.execute("ROLLBACK")
            raise
        finally:
            if durable:
                connection.execute("PRAGMA synchronous=NORMAL")

    # --- jobs -------------------------------------------------------------------------------------------------------

    def claim(self, order: Order) -> Claim:
        """Decide, once and durably, what an order that just came is."""
        job, digest = str(order.job), order_digest(order)
        with self._transaction(durable=True) as db:
            row = db.execute("SELECT digest, state, attempt, cursor FROM job WHERE id = ?", (job,)).fetchone()
            if row is None:
                db.execute(
                    "INSERT INTO job (id, digest, state, text, attempt, next_seq, begun)"
                    " VALUES (?, ?, 'running', ?, 1, 1, ?)",
                    (job, digest, order.model_dump_json(), time.time()),
                )
                return Claim(ClaimKind.NEW, 1)
            if row[0] != digest:
                return Claim(ClaimKind.REPLAYED, row[2])
            if row[1] == "running":
                db.execute("UPDATE job SET attempt = attempt + 1 WHERE id = ?", (job,))
                return Claim(ClaimKind.RESUME, row[2] + 1, row[3])
            db.execute(
                "INSERT INTO outbox (event) SELECT id FROM event WHERE job = ? ORDER BY seq DESC LIMIT 1", (job,)
            )
        self.notify()
        return Claim(ClaimKind.FINISHED, row[2])

    def append(self, job: UUID, body: Body, *, cursor: str | None = None) -> int:
        """Number the event, keep it and queue it, all or nothing. `cursor`: output was taken up to there."""
        with self._transaction() as db:
            seq = self._append(db, job, body)
            if cursor is not None:
                db.execute("UPDATE job SET cursor = ? WHERE id = ?", (cursor, str(job)))
        self.notify()
        return seq

    def finish(self, job: UUID, body: Finished) -> int:
        """Append the last event of a job and forget its order, which may hold a hash. A finished job stays as it is."""
        with self._transaction(durable=True) as db:
            changed = db.execute(
                "UPDATE job SET state = 'finished', text = '', ended = ? WHERE id = ? AND state = 'running'",
                (time.time(), str(job)),
            ).rowcount
            seq = self._append(db, job, body) if changed else 0
        self.notify()
        return seq

    def refuse(self, body: Refused, order: Order | None = None) -> None:
        """Report a refusal; under the order's job if that is unknown here, else under no job."""
        with self._transaction(durable=True) as db:
            if order is None or db.execute("SELECT 1 FROM job WHERE id = ?", (str(order.job),)).fetchone():
                self._insert(db, None, 0, body)
            else:
                db.execute(
                    "INSERT INTO job (id, digest, state, text, attempt, next_seq, begun, ended)"
                    " VALUES (?, ?, 'refused', '', 1, 1, ?, ?)",
                    (str(order.job), order_digest(order), time.time(), time.time()),
                )
                self._append(db, order.job, body)
        self.notify()

    def _append(self, db: sqlite3.Connection, job: UUID, body: Body) -> int:
        row = db.execute(
            "UPDATE job SET next_seq = next_seq + 1 WHERE id = ? RETURNING next_seq - 1", (str(job),)
        ).fetchone()
        if row is None:
            raise KeyError(f"job {job} was never claimed")
        self._insert(db, job, row[0], body)
        return int(row[0])

    def _insert(self, db: sqlite3.Connection, job: UUID | None, seq: int, body: Body) -> None:
        event = Event(job=job, seq=seq, at=datetime.now(UTC), body=body)
        text = event.model_dump_json()
        name = None if job is None else str(job)
        row = db.execute(
            "INSERT INTO event (job, seq, at, text) VALUES (?, ?, ?, ?)", (name, seq, event.at.timestamp(), text)
        )
        db.execute("INSERT INTO outbox (event) VALUES (?)", (row.lastrowid,))

    def running(self) -> list[Order]:
        """Orders that began and did not end: they run now, or wait to be resumed. They were verified when they came."""
        rows = self._connection().execute("SELECT text FROM job WHERE state = 'running'").fetchall()
        return [Order.model_validate_json(row[0]) for row in rows]

    def knows(self, job: UUID) -> bool:
        """Whether an order of that id was taken (or refused) before."""
        return self._state(job) is not None

    def is_running(self, job: UUID) -> bool:
        return self._state(job) == "running"

    def _state(self, job: UUID) -> str | None:
        row = self._connection().execute("SELECT state FROM job WHERE id = ?", (str(job),)).fetchone()
        return None if row is None else str(row[0])

    # --- outbox -----------------------------------------------------------------------------------------------------

    def unsent(self, limit: int = 500) -> list[tuple[int, Event]]:
        """(rowid, event) in the order in which they must be shipped."""
        rows = self._connection().execute(
            "SELECT outbox.id, event.text FROM outbox JOIN event ON event.id = outbox.event ORDER BY outbox.id LIMIT ?",
            (limit,),
        )
        return [(row[0], Event.model_validate_json(row[1])) for row in rows]

    def mark_sent(self, rowid: int) -> None:
        """It is in Redis; the event itself stays for `events_after`."""
        with self._transaction() as db:
            db.execute("DELETE FROM outbox WHERE id = ?", (rowid,))

    def mark_sent_until(self, rowid: int) -> None:
        """Everything up to `rowid` was shipped, as a batch taken by `unsent`."""
        with self._transaction() as db:
            db.execute("DELETE FROM outbox WHERE id <= ?", (rowid,))

    def events_after(self, job: UUID, after: int) -> list[Event]:
        """Events of a job with a higher number than `after`."""
        rows = self._connection().execute(
            "SELECT text FROM event WHERE job = ? AND seq > ? ORDER BY seq", (str(job), after)
        )
        return [Event.model_validate_json(row[0]) for row in rows]

    def requeue(self, job: UUID, after: int) -> int:
        """Queue a job's events after number `after` again; how many."""
        with self._transaction() as db:
            count = db.execute(
                "INSERT INTO outbox (event) SELECT id FROM event WHERE job = ? AND seq > ? ORDER BY seq",
                (str(job), after),
            ).rowcount
        self.notify()
        return count

    # --- cancel, replay ---------------------------------------------------------------------------------------------

    def request_cancel(self, job: UUID) -> None:
        """Ask that a job, running or yet to come, be cancelled."""
        with self._transaction() as db:
            db.execute("INSERT OR IGNORE INTO cancel (job, at) VALUES (?, ?)", (str(job), time.time()))
        nudge.send(cancel_address(job))

    def cancel_requested(self, job: UUID) -> bool:
        row = self._connection().execute("SELECT 1 FROM cancel WHERE job = ?", (str(job),)).fetchone()
        return row is not None

    def seen_request(self, request: UUID, expires: datetime) -> bool:
        """Remember a live request until it expires; True if it came before."""
        with self._transaction() as db:
            db.execute("DELETE FROM request WHERE expires < ?", (time.time() - 60,))
            return not db.execute(
                "INSERT OR IGNORE INTO request (id, expires) VALUES (?, ?)", (str(request), expires.timestamp())
            ).rowcount

    def prune(self, keep_s: float = KEEP_S) -> None:
        """Forget events of jobs that ended long ago. The ids of jobs stay: they make replays harmless."""
        limit = time.time() - keep_s
        old = "(SELECT id FROM event WHERE at < ? AND (job IS NULL OR job IN (SELECT id FROM job WHERE ended < ?)))"
        with self._transaction() as db:
            db.execute(f"DELETE FROM outbox WHERE event IN {old}", (limit, limit))  # noqa: S608
            db.execute(f"DELETE FROM event WHERE id IN {old}", (limit, limit))  # noqa: S608
            db.execute("DELETE FROM cancel WHERE at < ?", (limit,))

    # --- nudge ------------------------------------------------------------------------------------------------------

    def notify(self) -> None:
        """Tell the live service that the outbox has something."""
        nudge.send(outbox_address())

    async def wait_nudge(self, timeout: float | None = None) -> bool:
        """For the live service: wait until something was appended, at most `timeout` seconds; False if nothing."""
        if self._receiver is None:
            self._receiver = nudge.Receiver(outbox_address())
        return await self._receiver.wait(timeout)


def outbox_address() -> Path:
    return paths.run_dir() / "outbox.sock"


def cancel_address(job: UUID) -> Path:
    return paths.run_dir() / f"cancel-{job.hex}.sock"
