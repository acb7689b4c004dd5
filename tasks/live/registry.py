"""What sockets ask of the room that knows containers. `machines` registers the answers when Django starts."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from django.contrib.auth.models import User
from django.core.exceptions import ImproperlyConfigured

from teams.permissions import Permission


@dataclass(frozen=True)
class Target:
    """A container as a socket needs it. `online`: its host was heard of lately; `up`: it runs, or boots."""

    container_id: UUID
    name: str
    host_id: UUID
    host_name: str
    team_id: int
    online: bool
    up: bool


class Resolver(Protocol):
    """Sync: consumers call it in a thread."""

    def container(self, user: User, container_id: UUID, permission: Permission) -> Target:
        """Raises NotFound for what `user` may not see, PermissionDenied for what they may see but not do."""

    def visible_containers(self, user: User, ids: Collection[UUID]) -> set[UUID]:
        """Those of `ids` that `user` may see."""

    def visible_hosts(self, user: User, ids: Collection[UUID]) -> set[UUID]:
        """Those of `ids` that `user` may see."""


_registered: Resolver | None = None


def register(resolver: Resolver) -> None:
    """Called once, from AppConfig.ready()."""
    global _registered
    _registered = resolver


def resolver() -> Resolver:
    """The registered one; ImproperlyConfigured if the app that has it is not installed."""
    if _registered is None:
        raise ImproperlyConfigured("No app has registered with tasks.live.registry. Is `machines` in INSTALLED_APPS?")
    return _registered


def resolve_container(user: User, container_id: UUID, permission: Permission) -> Target:
    """The container if `user` has `permission` on it; raises NotFound or PermissionDenied."""
    return resolver().container(user, container_id, permission)
