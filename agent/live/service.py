"""The live service: `nspawnweb-agent run live`. One event loop, one task a concern, a clean end on SIGTERM."""

from __future__ import annotations

import asyncio
import logging
import signal
import sqlite3
from collections.abc import Coroutine
from typing import Any, Protocol
from uuid import UUID

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from agent import doctor
from agent.config import Config
from agent.live.backoff import Backoff
from agent.live.bushost import BusHost
from agent.live.checkup import checkups
from agent.live.dispatch import Dispatch
from agent.live.inbox import Inbox, RefusalLog
from agent.live.inventory import Inventory
from agent.live.notify import notify, watchdog
from agent.live.sessions import Sessions
from agent.live.shipper import ship
from agent.live.state import StateStream, heartbeats
from agent.live.verify import Gate, load_key
from agent.live.watch import watch
from agent.store import Store

log = logging.getLogger(__name__)

PRUNE_S = 6 * 3600
REDIS_ANSWER_S = 10.0
"""Longer than a blocking read waits; a Redis that is silent for so long counts as away."""


class Settings(Protocol):
    """What is needed of agent.config.Config."""

    @property
    def host(self) -> UUID: ...
    @property
    def live_key(self) -> Any: ...
    def redis_async(self, **options: Any) -> Redis: ...


def run(config: Settings) -> None:
    """Serve until SIGTERM or SIGINT. Raises ConfigError; any other error ends it, and systemd starts it anew."""
    asyncio.run(serve(config, Store()))


async def serve(config: Settings, store: Store) -> None:
    """The same within a running loop."""
    gate = Gate(config.host, load_key(config.live_key), store.seen_request)
    redis = config.redis_async(
        socket_timeout=REDIS_ANSWER_S,
        # Every writer here repeats by itself, knowing what a second copy would mean.
        retry=Retry(NoBackoff(), 0),
    )
    host = BusHost()
    sessions = Sessions(redis, config.host)
    try:
        await _serve(config, store, redis, host, sessions, gate)
    finally:
        notify("STOPPING=1")
        await sessions.stop_all()
        await host.close()
        await redis.aclose()
        store.close()


async def _serve(config: Settings, store: Store, redis: Redis, host: BusHost, sessions: Sessions, gate: Gate) -> None:
    inventory = Inventory(host)
    dispatch = Dispatch(sessions=sessions, host=host, jobs=store, reporter=inventory)
    inbox = Inbox(redis, config.host, gate, RefusalLog(store), dispatch)
    stream = StateStream(redis, config.host, inventory.refresh)
    await _until_signal(
        ship(store, redis, config.host),
        inbox.run(),
        heartbeats(stream, host),
        checkups(inventory, lambda: doctor.examine(config if isinstance(config, Config) else None)),
        inventory.run(stream),
        watch(host, inventory, sessions.container_stopped),
        sessions.keep(),
        _orphans(sessions),
        _prune(store),
        watchdog(),
    )


async def _until_signal(*concerns: Coroutine[Any, Any, None]) -> None:
    """Run all of them until a signal comes; an error in one ends all, since half a service helps nobody."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(concern) for concern in concerns]
            notify("READY=1\nSTATUS=Serving")
            await stop.wait()
            log.info("stopping")
            for task in tasks:
                task.cancel()
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


async def _orphans(sessions: Sessions) -> None:
    """Once Redis answers, end what a crash left open."""
    backoff = Backoff()
    while True:
        try:
            return await sessions.close_orphans()
        except (RedisError, OSError) as error:
            log.debug("sessions of a former run: %s", error)
            await backoff.wait()


async def _prune(store: Store) -> None:
    """Forget old events now and then."""
    while True:
        try:
            await asyncio.to_thread(store.prune)
        except sqlite3.OperationalError as error:
            log.warning("old events could not be forgotten: %s", error)
        await asyncio.sleep(PRUNE_S)
