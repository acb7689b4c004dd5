"""Signing out ends the sockets and terminals of that browser at once."""

from __future__ import annotations

from functools import partial
from typing import Any

from django.contrib.auth.signals import user_logged_out
from django.db import transaction
from django.dispatch import receiver
from django.http import HttpRequest

from tasks.live import access, terminals


@receiver(user_logged_out, dispatch_uid="live_logged_out")
def logged_out(sender: Any, request: HttpRequest | None, **kwargs: Any) -> None:
    """Django's own signal, sent before the session is flushed: the act is Django's and allauth's."""
    key = request.session.session_key if request is not None else None
    if key:
        terminals.end_browser(key)
        transaction.on_commit(partial(access.session_over, key), robust=True)
