"""Celery's Redis transport for the agent: no Lua.

Stock kombu guards the restoring of messages that were never acknowledged with a lock whose release is a Lua script. A
host's Redis user may not run scripts (an endless one would stop Redis for everyone), and needs no lock: a host's queue
has exactly one consumer, this host. The rest is kombu's own.
"""

from __future__ import annotations

from time import time

from kombu.transport import TRANSPORT_ALIASES, redis

_EVERY = 10
"""Look for messages to restore at every tenth call, as kombu does."""


class SoleConsumerQoS(redis.QoS):  # type: ignore[misc]
    """Restores messages past the visibility timeout without asking for a lock."""

    def restore_visible(self, start: int = 0, num: int = 10, interval: int = _EVERY) -> None:
        self._vrestore_count += 1
        if (self._vrestore_count - 1) % (interval or 1):
            return
        with self.channel.conn_or_acquire() as client:
            oldest = time() - self.visibility_timeout
            overdue = client.zrange(
                self.unacked_index_key, oldest, 0, desc=True, byscore=True, offset=start, num=num, withscores=True
            )
            for tag, _ in overdue or []:
                self.restore_by_tag(tag, client)


class Channel(redis.Channel):  # type: ignore[misc]
    QoS = SoleConsumerQoS


class Transport(redis.Transport):  # type: ignore[misc]
    Channel = Channel


def install() -> None:
    """Make `redis://` and `rediss://` of this process mean this transport."""
    for alias in ("redis", "rediss"):
        TRANSPORT_ALIASES[alias] = f"{__name__}:Transport"
