"""API tokens: made once, shown once, kept as SHA-256."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from datetime import datetime, timedelta

from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from audit.services import record
from teams.errors import Invalid, NotFound, PermissionDenied
from teams.models import ApiToken

PREFIX = "nsw_"
"""Lets secret scanners know a token of ours."""
_SHOWN = 12
_USED_EVERY = timedelta(minutes=1)


def _digest(plain: str) -> str:
    # A token has 256 random bits: a plain hash is as good as a slow one, and fast on every API call.
    return hashlib.sha256(plain.encode()).hexdigest()


@transaction.atomic
def api_token_create(
    *, by: User | None, user: User, name: str, expires_at: datetime | None = None
) -> tuple[ApiToken, str]:
    """Make a token with the rights of `user`; the plain one is returned here and never again.

    `by` is the person (for themselves only) or None for the command line of the server.
    """
    if by is not None and by.pk != user.pk:
        raise PermissionDenied("You can make tokens for yourself only.")
    name = name.strip()
    if not name or len(name) > 80:
        raise Invalid("token_name", "A token needs a name of 1 to 80 characters, for example laptop.", field="name")
    plain = PREFIX + secrets.token_urlsafe(32)
    token = ApiToken.objects.create(
        user=user, name=name, prefix=plain[:_SHOWN], digest=_digest(plain), expires_at=expires_at
    )
    record(
        by=by,
        action="token.create",
        object_type="token",
        object_id=str(token.pk),
        object_name=name,
        detail={"user": user.get_username(), "prefix": token.prefix},
    )
    return token, plain


@transaction.atomic
def api_token_revoke(*, by: User, token: ApiToken) -> None:
    """Delete a token of one's own (a superuser: anybody's)."""
    if token.user_id != by.pk and not by.is_superuser:
        raise NotFound()
    record(
        by=by,
        action="token.revoke",
        object_type="token",
        object_id=str(token.pk),
        object_name=token.name,
        detail={"user": token.user.get_username(), "prefix": token.prefix},
    )
    token.delete()


def token_user(plain: str) -> User | None:
    """The active owner of a valid token, or None. Looked up and compared by digest: time tells nothing of it."""
    if not plain.startswith(PREFIX) or len(plain) > 200:
        return None
    digest = _digest(plain)
    now = timezone.now()
    token = ApiToken.objects.select_related("user").filter(digest=digest).first()
    if token is None or not hmac.compare_digest(token.digest, digest):
        return None
    if (token.expires_at is not None and token.expires_at <= now) or not token.user.is_active:
        return None
    if token.last_used_at is None or now - token.last_used_at > _USED_EVERY:
        stale = Q(last_used_at=None) | Q(last_used_at__lt=now - _USED_EVERY)
        ApiToken.objects.filter(stale, pk=token.pk).update(last_used_at=now)
    return token.user
