"""The portal's own ways to Redis: a pool for threads, one client an event loop, and the address as kombu writes it."""

from __future__ import annotations

import asyncio
from functools import cache
from weakref import WeakKeyDictionary

import redis
import redis.asyncio
from django.conf import settings
from redis.backoff import NoBackoff
from redis.retry import Retry

TIMEOUT_S = 5.0
"""A Redis that does not answer in this time counts as down; blocking reads have their own limit."""

_loops: WeakKeyDictionary[asyncio.AbstractEventLoop, redis.asyncio.Redis] = WeakKeyDictionary()


@cache
def client() -> redis.Redis:
    """For sync code, safe in threads."""
    return redis.Redis.from_url(
        settings.REDIS_URL,
        socket_timeout=TIMEOUT_S,
        socket_connect_timeout=TIMEOUT_S,
        retry=Retry(NoBackoff(), 1),
    )


def aclient() -> redis.asyncio.Redis:
    """For the running event loop."""
    loop = asyncio.get_running_loop()
    found = _loops.get(loop)
    if found is None:
        found = _loops[loop] = redis.asyncio.Redis.from_url(settings.REDIS_URL, socket_connect_timeout=TIMEOUT_S)
    return found


def broker_url(url: str | None = None) -> str:
    """`unix:///path?db=N` is `redis+socket:///path?virtual_host=N` to kombu."""
    url = settings.REDIS_URL if url is None else url
    if url.startswith("unix://"):
        return "redis+socket://" + url.removeprefix("unix://").replace("?db=", "?virtual_host=")
    return url
