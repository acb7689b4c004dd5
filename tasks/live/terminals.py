"""What becomes of terminals: opened, closed, left alone, taken away. Each act has its audit row."""

from __future__ import annotations

from datetime import timedelta
from functools import partial

import structlog
from django.contrib.auth.models import User
from django.db import transaction
from django.utils import timezone
from redis.exceptions import RedisError

from audit.models import AuditEvent
from audit.services import record
from contract import keys
from contract.live import TERMINAL_LEASE_S, SessionClose
from tasks.live.access import session_digest
from tasks.live.registry import Target
from tasks.models import TerminalSession
from tasks.redis import client
from tasks.requests import send_request

log = structlog.get_logger(__name__)

EXPIRED = f"Nobody had it open for {TERMINAL_LEASE_S // 60} minutes."
SIGNED_OUT = "The person signed out."
WITHDRAWN = "The right to it was withdrawn."
UNUSED_S = 300
"""A terminal whose ticket nobody used is forgotten after this."""


@transaction.atomic
def opened(row: TerminalSession, target: Target) -> bool:
    """Note that the host is now asked for the shell. False: it was asked before."""
    now = timezone.now()
    if not TerminalSession.objects.filter(pk=row.pk, requested_at=None, closed_at=None).update(requested_at=now):
        return False
    row.requested_at = now
    record(
        by=row.user,
        action="terminal.open",
        team_id=target.team_id,
        object_type="container",
        object_id=str(row.container_id),
        object_name=row.container_name,
        detail={"session": str(row.pk), "host": target.host_name},
    )
    return True


@transaction.atomic
def closed(row: TerminalSession, reason: str, *, team_id: int | None = None) -> bool:
    """Note that it has ended, with how long it was open. False: that was known."""
    now = timezone.now()
    reason = reason[:300]
    if not TerminalSession.objects.filter(pk=row.pk, closed_at=None).update(
        closed_at=now, closed_reason=reason, ticket_digest="", ticket_expires_at=None
    ):
        return False
    row.closed_at, row.closed_reason = now, reason
    asked = TerminalSession.objects.filter(pk=row.pk).values_list("requested_at", flat=True).get()
    if asked is not None:
        record(
            by=row.user,
            action="terminal.close",
            team_id=team_id if team_id is not None else _team_of(row),
            object_type="container",
            object_id=str(row.container_id),
            object_name=row.container_name,
            detail={"session": str(row.pk), "seconds": round((now - asked).total_seconds()), "reason": reason},
        )
    return True


def _team_of(row: TerminalSession) -> int | None:
    """As the opening row says: the container may be gone, or belong to another team by now."""
    found = AuditEvent.objects.filter(
        action="terminal.open", object_type="container", object_id=str(row.container_id), detail__session=str(row.pk)
    ).first()
    return found.team_id if found else None


def end(row: TerminalSession, reason: str) -> None:
    """Close it here and on its host: the shell and what it runs end."""
    if closed(row, reason) and row.requested_at is not None:
        transaction.on_commit(partial(_tell_host, row), robust=True)


def _tell_host(row: TerminalSession) -> None:
    try:
        client().delete(keys.lease(row.host_id, row.pk))
        send_request(row.host_id, SessionClose(session=row.pk))
    except RedisError as error:
        log.warning("terminal_not_closed", session=str(row.pk), error=str(error))  # its lease runs out by itself


def end_browser(session_key: str) -> None:
    """The person signed out of this browser: its terminals end."""
    for row in TerminalSession.objects.filter(session_key_digest=session_digest(session_key), closed_at=None):
        end(row, SIGNED_OUT)


def forget_unused(user: User | None = None) -> int:
    """Delete terminals that were never begun. Returns how many."""
    old = timezone.now() - timedelta(seconds=UNUSED_S)
    found = TerminalSession.objects.filter(requested_at=None, opened_at__lt=old, closed_at=None)
    if user is not None:
        found = found.filter(user=user)
    return found.delete()[0]


def sweep() -> int:
    """Note the end of terminals that nobody came back to: their lease is gone. Returns how many. Raises RedisError."""
    forget_unused()
    grace = timezone.now() - timedelta(seconds=60)  # one that is being opened has its lease in a moment
    rows = list(TerminalSession.objects.filter(closed_at=None, requested_at__lt=grace).select_related("user"))
    if not rows:
        return 0
    with client().pipeline(transaction=False) as pipe:
        for row in rows:
            pipe.exists(keys.lease(row.host_id, row.pk))
        answers = pipe.execute()
    gone = [row for row, lives in zip(rows, answers, strict=True) if not lives]
    return sum(closed(row, EXPIRED) for row in gone)
