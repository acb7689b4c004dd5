"""Tickets to terminals: made by a POST, used once by one socket, worth nothing to anybody else."""

from __future__ import annotations

import hashlib
import secrets
from datetime import timedelta
from typing import Protocol
from uuid import UUID

import structlog
from django.contrib.auth.models import User
from django.db import transaction
from django.utils import timezone
from redis.exceptions import RedisError

from contract import keys
from tasks.live import terminals
from tasks.live.access import session_digest
from tasks.live.registry import Target, resolve_container
from tasks.models import TerminalSession
from tasks.redis import client
from teams.errors import Conflict, Invalid, NotFound, Unavailable
from teams.permissions import Permission

log = structlog.get_logger(__name__)

TICKET_S = 30
OPEN_MAX = 20
"""Terminals that a person may have open at once."""


class HasId(Protocol):
    """A container, of which this room knows the id only."""

    @property
    def pk(self) -> UUID: ...


def _digest(ticket: str) -> str:
    # 256 random bits: a plain hash is enough, and its lookup tells nothing by its time.
    return hashlib.sha256(ticket.encode()).hexdigest()


def issue(*, by: User, container: HasId, session_key: str, session: str = "") -> dict[str, str]:
    """{"ticket", "session"} for a terminal in `container`, for `by` in this browser session, for TICKET_S seconds.

    `session` re-attaches to that terminal if it is theirs and still lives; else a new one is begun.
    Raises NotFound, PermissionDenied, Conflict (host offline, too many), Unavailable (Redis is down).
    """
    target = resolve_container(by, container.pk, Permission.CONTAINER_TERMINAL)
    if not session_key:
        raise Invalid("no_session", "A terminal needs a browser session.", hint="Sign in and try again.")
    if not target.online:
        raise Conflict(
            "host_offline",
            "The terminal cannot be opened.",
            f"Host {target.host_name} is offline.",
            "Try again when it is back.",
        )
    row = _existing(by, target, session_key, session) or _new(by, target, session_key)
    ticket = secrets.token_urlsafe(32)
    row.ticket_digest, row.ticket_expires_at = _digest(ticket), timezone.now() + timedelta(seconds=TICKET_S)
    row.save(update_fields=["ticket_digest", "ticket_expires_at"])
    return {"ticket": ticket, "session": str(row.pk)}


def _existing(by: User, target: Target, session_key: str, session: str) -> TerminalSession | None:
    """The living terminal of this id, person, browser and container."""
    try:
        ident = UUID(session)
    except ValueError:
        return None
    row = TerminalSession.objects.filter(
        pk=ident,
        user=by,
        session_key_digest=session_digest(session_key),
        container_id=target.container_id,
        host_id=target.host_id,
        closed_at=None,
    ).first()
    if row is None or row.requested_at is None:
        return row
    try:
        lives = client().exists(keys.lease(row.host_id, row.pk))
    except RedisError as error:
        raise Unavailable("redis_down", "The terminal cannot be opened.", "Redis does not answer.") from error
    if lives:
        return row
    terminals.closed(row, terminals.EXPIRED)
    return None


@transaction.atomic
def _new(by: User, target: Target, session_key: str) -> TerminalSession:
    terminals.forget_unused(by)
    if TerminalSession.objects.filter(user=by, closed_at=None).count() >= OPEN_MAX:
        raise Conflict(
            "too_many_terminals",
            f"You have {OPEN_MAX} terminals open, which is the limit.",
            hint="Close some; those left alone end by themselves after a quarter of an hour.",
        )
    return TerminalSession.objects.create(
        user=by,
        session_key_digest=session_digest(session_key),
        host_id=target.host_id,
        container_id=target.container_id,
        container_name=target.name,
    )


def redeem(*, by: User, session_key: str, ticket: str) -> TerminalSession:
    """The terminal that this ticket opens, once. Raises NotFound for whatever is wrong with it.

    A ticket that comes from another person or browser has leaked: it is void from then on.
    """
    digest = _digest(ticket)
    row = TerminalSession.objects.filter(ticket_digest=digest, closed_at=None).first() if ticket else None
    if row is None:
        raise _no_ticket()
    taken = TerminalSession.objects.filter(pk=row.pk, ticket_digest=digest).update(
        ticket_digest="", ticket_expires_at=None
    )
    mine = row.user_id == by.pk and secrets.compare_digest(row.session_key_digest, session_digest(session_key))
    if not mine:
        log.warning("terminal_ticket_of_another", session=str(row.pk), owner=row.user_id, presented_by=by.pk)
        raise _no_ticket()
    if taken != 1 or row.ticket_expires_at is None or row.ticket_expires_at <= timezone.now():
        raise _no_ticket()
    row.ticket_digest, row.ticket_expires_at = "", None
    return row


def _no_ticket() -> NotFound:
    return NotFound("The terminal's ticket is not valid.", "It is good once and for some seconds.", "Open it again.")
