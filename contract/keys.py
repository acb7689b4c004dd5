"""Names of Redis keys. Host H owns `h:<H>:*` and nothing else; its ACL user can touch no other key.

Streams hold one field `d` with a JSON document of the model named beside them.
"""

from __future__ import annotations

from uuid import UUID

FIELD = "d"
EVENTS_MAX = 100_000
"""A bound of the events stream that is met only if the relay is away for long; the agent re-sends what was cut."""
STATE_MAX = 500
LIVE_IN_MAX = 10_000
LIVE_OUT_MAX = 5_000


def prefix(host: UUID) -> str:
    """`global_keyprefix` of the host's Celery queue, and root of its keys."""
    return f"h:{host}:"


def events(host: UUID) -> str:
    """Stream agent -> relay: contract.events.Event. Trimmed by the relay up to what it has stored."""
    return f"{prefix(host)}events"


def state(host: UUID) -> str:
    """Capped stream agent -> relay: contract.live.StateMessage (heartbeat, inventory)."""
    return f"{prefix(host)}state"


def live_in(host: UUID) -> str:
    """Capped stream portal -> agent: contract.live.Envelope, signed."""
    return f"{prefix(host)}live:in"


def live_out(host: UUID, session: UUID) -> str:
    """Capped stream agent -> viewers: contract.live.Out of one journal or terminal session."""
    return f"{prefix(host)}live:out:{session}"


def lease(host: UUID, session: UUID) -> str:
    """Key with a time to live, kept by viewers; the agent ends a session whose lease is gone."""
    return f"{prefix(host)}live:lease:{session}"


def live_open(host: UUID) -> str:
    """Set of the session ids that the agent has open: after a crash it tells their viewers that they ended."""
    return f"{prefix(host)}live:open"


def cancelled(host: UUID, job: UUID) -> str:
    """Key that marks a job cancelled before it began (a hint; the signed cancel request decides)."""
    return f"{prefix(host)}cancelled:{job}"
