"""Who may read the trail. This app knows no roles: the app that does says so here at start."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from django.contrib.auth.models import User

Scope: TypeAlias = frozenset[int] | None
"""The teams whose rows a person may read; None: every row, also those of no team."""

_NOBODY: Scope = frozenset()
_scope_of: Callable[[User], Scope] = lambda user: _NOBODY  # noqa: E731 - until teams has spoken


def set_scope(scope_of: Callable[[User], Scope]) -> None:
    """Called once, by the app that knows the roles, when it is ready."""
    global _scope_of
    _scope_of = scope_of


def scope_of(user: User) -> Scope:
    return _scope_of(user)
