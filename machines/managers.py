"""Reads of hosts, containers and releases that everybody shares."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from django.db import models
from django.utils import timezone

from contract.live import OFFLINE_AFTER_S
from teams.permissions import AnyUser, Permission, allowed, team_filter

if TYPE_CHECKING:
    from machines.models.container import Container  # noqa: F401 - these three in base classes' brackets
    from machines.models.host import Host  # noqa: F401
    from machines.models.release import Release  # noqa: F401


class ContainerQuerySet(models.QuerySet["Container"]):
    def standing(self) -> ContainerQuerySet:
        """Those that were not removed."""
        return self.filter(removed_at__isnull=True)

    def visible_to(self, user: AnyUser) -> ContainerQuerySet:
        """Containers of the teams in which `user` may see them; also removed ones, whose history stays."""
        return self.filter(team_filter(user, Permission.CONTAINER_VIEW))


class HostQuerySet(models.QuerySet["Host"]):
    def visible_to(self, user: AnyUser) -> HostQuerySet:
        """All hosts, for whoever is in a team or has a site role; else none."""
        return self if allowed(user, Permission.HOST_VIEW) else self.none()

    def enrolled(self) -> HostQuerySet:
        return self.filter(enrolled_at__isnull=False, revoked_at__isnull=True)

    def online(self) -> HostQuerySet:
        """Enrolled and heard of within OFFLINE_AFTER_S."""
        return self.enrolled().filter(last_seen__gt=timezone.now() - timedelta(seconds=OFFLINE_AFTER_S))


class ReleaseQuerySet(models.QuerySet["Release"]):
    def active(self) -> ReleaseQuerySet:
        return self.filter(active=True)


ContainerManager = models.Manager.from_queryset(ContainerQuerySet)
HostManager = models.Manager.from_queryset(HostQuerySet)
ReleaseManager = models.Manager.from_queryset(ReleaseQuerySet)
