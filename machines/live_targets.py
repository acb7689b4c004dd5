"""Answers of this room to the sockets of `tasks.live`: which containers and hosts a person may watch."""

from __future__ import annotations

from collections.abc import Collection
from uuid import UUID

from django.contrib.auth.models import User

from machines.models import Container, ContainerState, Host
from tasks.live.registry import Target
from teams.errors import NotFound
from teams.permissions import Permission, require

UP = frozenset({ContainerState.STARTING, ContainerState.RUNNING, ContainerState.DEGRADED})


class MachineTargets:
    """tasks.live.registry.Resolver."""

    def container(self, user: User, container_id: UUID, permission: Permission) -> Target:
        """A standing container on which `user` has `permission`. Raises NotFound, PermissionDenied."""
        found = Container.objects.standing().select_related("host", "team")
        container = found.filter(pk=container_id).first()
        if container is None:
            raise NotFound()  # word for word what `require` says of one that may not be seen
        require(user, permission, container.team, owner_id=container.owner_id)
        return Target(
            container_id=container.pk,
            name=container.name,
            host_id=container.host_id,
            host_name=container.host.name,
            team_id=container.team_id,
            online=container.host.is_online,
            up=container.state in UP,
        )

    def visible_containers(self, user: User, ids: Collection[UUID]) -> set[UUID]:
        return set(Container.objects.visible_to(user).filter(pk__in=ids).values_list("pk", flat=True))

    def visible_hosts(self, user: User, ids: Collection[UUID]) -> set[UUID]:
        return set(Host.objects.visible_to(user).filter(pk__in=ids).values_list("pk", flat=True))
