"""Who sits at the other end of a socket, asked anew for as long as it is open."""

from __future__ import annotations

import hashlib
from importlib import import_module
from typing import Any

import structlog
from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer
from django.conf import settings
from django.contrib.auth import get_user
from django.contrib.auth.models import User
from django.http import HttpRequest

log = structlog.get_logger(__name__)


def session_digest(session_key: str) -> str:
    """What may be stored of a browser's session key: knowing it opens nothing."""
    return hashlib.sha256(f"terminal:{session_key}".encode()).hexdigest()


def session_group(session_key: str) -> str:
    """The Channels group of all sockets of one browser session."""
    return f"live.session.{session_digest(session_key)}"


def signed_in(session_key: str) -> User | None:
    """The person of this session now, as Django's own middleware would say; None once signed out, locked or expired."""
    if not session_key:
        return None
    store = import_module(settings.SESSION_ENGINE).SessionStore
    request = HttpRequest()
    request.session = store(session_key)
    user = get_user(request)
    return user if isinstance(user, User) and user.is_active else None


def session_over(session_key: str) -> None:
    """Tell every open socket of this session that it has ended. If that is lost, they find out within seconds."""
    layer: Any = get_channel_layer()
    try:
        async_to_sync(layer.group_send)(session_group(session_key), {"type": "session.over"})
    except Exception as error:  # logging out must work without Redis
        log.warning("session_over_not_sent", error=str(error))
