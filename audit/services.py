"""Writing and checking the audit chain.

Row N's hash is SHA-256 over row N-1's hash and row N's canonical JSON (keys sorted, no spaces, UTF-8). Changing,
removing or inserting a row breaks the chain at that place; cutting rows off the end shows against the head row, and
against a head noted elsewhere (`audit_verify` prints it).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.contrib.auth.models import AnonymousUser, User
from django.db import models, transaction
from django.utils import timezone

from audit.context import current
from audit.models import AuditEvent, AuditHead

GENESIS = "0" * 64
HEAD_PK = 1
SYSTEM = "system"


@dataclass(frozen=True)
class Problem:
    """A place where the chain is broken."""

    seq: int
    what: str


def canonical(event: AuditEvent) -> bytes:
    """What is hashed of a row. Times in UTC with microseconds, as both databases keep them."""
    fields = {
        "seq": event.seq,
        "at": event.at.isoformat(timespec="microseconds"),
        "actor_id": event.actor_key,
        "actor_name": event.actor_name,
        "action": event.action,
        "team_id": event.team_id,
        "object_type": event.object_type,
        "object_id": event.object_id,
        "object_name": event.object_name,
        "detail": event.detail,
        "ip": event.ip,
        "request_id": event.request_id,
    }
    return json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def row_hash(prev_hash: str, event: AuditEvent) -> str:
    return hashlib.sha256(prev_hash.encode() + b"\n" + canonical(event)).hexdigest()


def record(
    *,
    by: User | AnonymousUser | None,
    action: str,
    team_id: int | None = None,
    obj: models.Model | None = None,
    object_type: str = "",
    object_id: str = "",
    object_name: str = "",
    detail: dict[str, Any] | None = None,
    actor_name: str = "",
) -> AuditEvent:
    """Append one row, in the caller's transaction if there is one: act and row stand or fall together.

    `obj` names the object by its model, key and str(). `actor_name` replaces the name of `by`
    (`host:NAME`, or a name somebody tried to log in with). `detail` must not hold secrets.
    """
    user = by if isinstance(by, User) else None
    if obj is not None:
        object_type = object_type or obj._meta.model_name or ""
        object_id, object_name = object_id or str(obj.pk), object_name or str(obj)
    context = current()
    with transaction.atomic():
        head, _ = AuditHead.objects.select_for_update().get_or_create(pk=HEAD_PK)
        event = AuditEvent(
            seq=head.seq + 1,
            at=timezone.now(),
            actor=user,
            actor_key=user.pk if user else None,
            actor_name=_text(actor_name or (user.get_username() if user else SYSTEM), 150),
            action=action,
            team_id=team_id,
            object_type=_text(object_type, 40),
            object_id=_text(object_id, 64),
            object_name=_text(object_name, 150),
            detail=_plain(detail or {}),
            ip=context.ip,
            request_id=_text(context.request_id, 64),
            prev_hash=head.hash,
        )
        event.hash = row_hash(head.hash, event)
        event.save(force_insert=True)
        AuditHead.objects.filter(pk=HEAD_PK).update(seq=event.seq, hash=event.hash)
    return event


def _text(value: str, length: int) -> str:
    """Cut to the column, without NUL, which PostgreSQL cannot hold."""
    return value.replace("\0", "\ufffd")[:length]


def _plain(detail: dict[str, Any]) -> dict[str, Any]:
    """As the database will give it back (UUIDs and times as text, no NUL, which PostgreSQL's JSON cannot hold)."""
    text = json.dumps(detail, default=str, ensure_ascii=False).replace("\\u0000", "\\ufffd")
    plain: dict[str, Any] = json.loads(text)
    return plain


def verify() -> list[Problem]:
    """Every place where the chain is broken, in order; empty if all is well."""
    problems = list(_walk())
    last = AuditEvent.objects.order_by("-seq").first()
    head = AuditHead.objects.filter(pk=HEAD_PK).first()
    found = (last.seq, last.hash) if last else (0, GENESIS)
    noted = (head.seq, head.hash) if head else (0, GENESIS)
    if found != noted:
        problems.append(Problem(noted[0], f"the head row says {noted[0]} rows, the last row is {found[0]}"))
    return problems


def _walk() -> Iterator[Problem]:
    seq, prev = 0, GENESIS
    for event in AuditEvent.objects.order_by("seq").iterator(chunk_size=1000):
        if event.seq != seq + 1:
            yield Problem(event.seq, f"rows {seq + 1} to {event.seq - 1} are missing")
        elif event.prev_hash != prev:
            yield Problem(event.seq, "the row does not follow the one before it")
        if row_hash(event.prev_hash, event) != event.hash:
            yield Problem(event.seq, "the row was changed after it was written")
        seq, prev = event.seq, event.hash
