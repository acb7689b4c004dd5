"""Logins, logouts and failed logins into the audit trail. Django's own signals: the act is Django's and allauth's."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import User
from django.contrib.auth.signals import user_logged_in, user_logged_out, user_login_failed
from django.dispatch import receiver

from audit.services import record


@receiver(user_logged_in, dispatch_uid="audit_logged_in")
def logged_in(sender: Any, user: User, **kwargs: Any) -> None:
    record(by=user, action="login", obj=user)


@receiver(user_logged_out, dispatch_uid="audit_logged_out")
def logged_out(sender: Any, user: User | None, **kwargs: Any) -> None:
    if user is not None:
        record(by=user, action="logout", obj=user)


@receiver(user_login_failed, dispatch_uid="audit_login_failed")
def login_failed(sender: Any, credentials: dict[str, Any], **kwargs: Any) -> None:
    # The name is what somebody typed, maybe a password by mistake: it is kept as the name of who tried, cut short.
    tried = str(credentials.get("username") or credentials.get("email") or "")[:150]
    record(by=None, action="login.failed", actor_name=tried or "(no name)")
