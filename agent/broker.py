"""Celery's Redis transport for the agent: no Lua, and no wait for what a predecessor left.

Stock kombu guards the restoring of messages that were never acknowledged with a lock whose release is a Lua script. A
host's Redis user may not run scripts (an endless one would stop Redis for everyone), and needs no lock: a host's queue
has exactly one consumer, this host. For the same reason whatever is unacknowledged when the process starts was held by
a process that died, and comes back at once instead of after the visibility timeout. The rest is kombu's own.
"""

from __future__ import annotations

from time import time
from typing import Any, ClassVar

from kombu.transport import TRANSPORT_ALIASES, redis


class SoleConsumerQoS(redis.QoS):
    """Restores messages past the visibility timeout without a lock, and at the first look all there are."""

    channel: Channel
    _vrestore_count: int
    inherited: ClassVar[bool] = True
    """True until this process has looked once. Not reset by a reconnect: then the jobs are our own and still run."""

    def restore_visible(self, start: int = 0, num: int | None = 10, interval: int = 10) -> None:
        """As kombu's: looks at every tenth call, moves up to `num` messages back to the queue."""
        self._vrestore_count += 1
        if (self._vrestore_count - 1) % (interval or 1):
            return
        first, SoleConsumerQoS.inherited = SoleConsumerQoS.inherited, False
        newest = time() + 1 if first else time() - self.visibility_timeout
        limits: dict[str, Any] = {} if first or not num else {"offset": start, "num": num}
        with self.channel.conn_or_acquire() as client:
            due = client.zrange(self.unacked_index_key, newest, 0, desc=True, byscore=True, withscores=True, **limits)
            for tag, _ in due or []:
                self.restore_by_tag(tag, client)


class Channel(redis.Channel):
    """Kombu's, with our way of restoring."""

    QoS = SoleConsumerQoS


class Transport(redis.Transport):
    """Kombu's, with our channel."""

    Channel = Channel


def install() -> None:
    """Make `redis://` and `rediss://` of this process mean this transport. Call it before the app connects."""
    for alias in ("redis", "rediss"):
        TRANSPORT_ALIASES[alias] = f"{__name__}:Transport"
