"""What is sent of the host's state: heartbeats, inventories and single changes, into a short capped stream."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime
from uuid import UUID

from redis.asyncio import Redis
from redis.exceptions import RedisError

from agent import machines
from agent.live.backoff import obey_cancel
from agent.live.bushost import BusHost
from agent.systemd.bus import Bus, DBusError
from contract import keys
from contract.live import HEARTBEAT_S, Heartbeat, Metrics, StateMessage

log = logging.getLogger(__name__)


class StateStream:
    """Nothing is kept for later: an old heartbeat is worth nothing, and after an outage a whole inventory goes."""

    def __init__(self, redis: Redis, host: UUID, on_return: Callable[[], None]) -> None:
        self._redis = redis
        self._key = keys.state(host)
        self._on_return = on_return
        self._away = False

    async def send(self, message: StateMessage) -> bool:
        """Whether it arrived."""
        text = message.model_dump_json(exclude_none=message.type == "heartbeat")
        try:
            await self._redis.xadd(self._key, {keys.FIELD: text}, maxlen=keys.STATE_MAX, approximate=True)
        except (RedisError, OSError) as error:
            if not self._away:
                log.warning("the host's state cannot be reported: %s", error)
            self._away = True
            return False
        obey_cancel()
        if self._away:
            self._away = False
            self._on_return()
        return True


async def heartbeats(stream: StateStream, host: BusHost) -> None:
    """One every HEARTBEAT_S, until cancelled. Without a bus the host still says that it lives."""
    sampler = Sampler(host)
    due = time.monotonic()
    while True:
        containers = await sampler.sample()
        beat = Heartbeat(at=datetime.now(UTC), metrics=machines.host_metrics(), containers=containers)
        await stream.send(beat)
        due = max(due + HEARTBEAT_S, time.monotonic())
        await asyncio.sleep(due - time.monotonic())


class Sampler:
    """A MetricsReader for as long as its bus lives."""

    def __init__(self, host: BusHost) -> None:
        self._host = host
        self._bus: Bus | None = None
        self._reader: machines.MetricsReader | None = None

    async def sample(self) -> dict[str, Metrics]:
        try:
            bus = await self._host.bus()
            if self._reader is None or bus is not self._bus:
                self._bus, self._reader = bus, machines.MetricsReader(bus)
            return await self._reader.sample()
        except (DBusError, TimeoutError) as error:
            log.warning("containers cannot be sampled: %s", error)
            return {}
