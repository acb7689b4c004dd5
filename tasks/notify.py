"""Hints to browsers: "topic T changed". The database has the truth; a lost hint costs a moment, never data.

Topics: `jobs`, `job:<uuid>`, `containers`, `container:<uuid>`, `hosts`, `host:<uuid>`. A consumer joins
`group(topic)` and receives {"type": "topic.changed", "topic": T}.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

import redis
import structlog
from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer
from django.db import transaction

from tasks.redis import aclient, client

log = structlog.get_logger(__name__)
_PENDING = "_nspawnweb_topics"
_NOTE = "portal:lately:"
LATELY_S = 20
"""As long as a page may take from being rendered to its subscription."""


def group(topic: str) -> str:
    """The Channels group of a topic (group names take no colon)."""
    return "topic." + topic.replace(":", ".")


def changed(*topics: str) -> None:
    """Tell who watches these topics, once each, after the transaction has been committed."""
    connection: Any = transaction.get_connection()
    if not connection.in_atomic_block:
        _send(list(topics))
        return
    # One flush a transaction: a batch of two hundred events of a job is one hint. The key is the outermost
    # transaction's own list of callbacks, so that a rolled back one leaves nothing behind.
    pending: dict[str, None] | None = getattr(connection, _PENDING, None)
    if pending is None or not any(entry[1] is _flush for entry in connection.run_on_commit):
        pending = {}
        setattr(connection, _PENDING, pending)
        transaction.on_commit(_flush, robust=True)
    pending.update(dict.fromkeys(topics))


def _flush() -> None:
    connection: Any = transaction.get_connection()
    pending: dict[str, None] = getattr(connection, _PENDING, None) or {}
    setattr(connection, _PENDING, None)
    _send(list(pending))


def _send(topics: list[str]) -> None:
    if not topics:
        return
    _note(topics)
    try:
        async_to_sync(_asend)(topics)
    except Exception as error:  # a hint must never undo or fail the act that it tells of
        log.warning("notify_failed", topics=topics[:5], error=str(error))


def _note(topics: list[str]) -> None:
    """Before the hint: who subscribes from now on sees the note, who has subscribed gets the hint."""
    try:
        with client().pipeline(transaction=False) as pipe:
            for topic in topics:
                pipe.set(_NOTE + topic, 1, ex=LATELY_S)
            pipe.execute()
    except redis.RedisError as error:
        log.warning("notify_unnoted", topics=topics[:5], error=str(error))


async def lately(topics: Iterable[str]) -> set[str]:
    """Those that changed within LATELY_S: a page that was rendered just before must look again."""
    known = list(topics)
    if not known:
        return set()
    try:
        notes = await aclient().mget([_NOTE + topic for topic in known])
    except redis.RedisError as error:
        log.warning("notify_unread", error=str(error))
        return set()
    return {topic for topic, note in zip(known, notes, strict=True) if note}


async def _asend(topics: list[str]) -> None:
    layer = get_channel_layer()
    if layer is not None:
        await asyncio.gather(
            *(layer.group_send(group(topic), {"type": "topic.changed", "topic": topic}) for topic in topics)
        )
