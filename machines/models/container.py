"""Containers."""

from __future__ import annotations

import uuid

from django.conf import settings
from django.db import models
from django.db.models import Q

from machines.managers import ContainerManager
from machines.models.host import Host
from machines.models.release import Release


class ContainerState(models.TextChoices):
    """What a person sees. The host's word (contract.live.MachineState) decides once the container is made."""

    CREATING = "creating", "Creating"
    STOPPED = "stopped", "Stopped"
    STARTING = "starting", "Starting"
    RUNNING = "running", "Running"
    DEGRADED = "degraded", "Degraded"
    STOPPING = "stopping", "Stopping"
    FAILED = "failed", "Failed"
    MISSING = "missing", "Missing"
    REMOVING = "removing", "Removing"


class Container(models.Model):
    """One systemd-nspawn container on one host, owned by a team.

    A removed one keeps its row (`removed_at`) so that jobs and audit rows still have a name to show.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.CharField(max_length=64)
    host = models.ForeignKey(Host, on_delete=models.PROTECT, related_name="containers")
    team = models.ForeignKey("teams.Team", on_delete=models.PROTECT, related_name="containers")
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")
    release = models.ForeignKey(Release, null=True, on_delete=models.SET_NULL, related_name="containers")
    state = models.CharField(max_length=20, choices=ContainerState.choices, default=ContainerState.CREATING)
    host_state = models.CharField(max_length=20, blank=True)
    """What the host last said (contract.live.MachineState); empty: it has no such machine, or has said nothing yet."""
    state_at = models.DateTimeField(auto_now_add=True)
    """When the host said so, by its own clock, never later than ours: an older report changes nothing."""
    created = models.BooleanField(default=False)
    """It has once existed on the host: from then on the host's inventory decides the state."""
    autostart = models.BooleanField(default=False)
    addresses = models.JSONField(default=list)
    os = models.CharField(max_length=200, blank=True)
    started_at = models.DateTimeField(null=True, blank=True)
    image_bytes = models.BigIntegerField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    removed_at = models.DateTimeField(null=True, blank=True)

    objects = ContainerManager()

    class Meta:
        ordering = ["name", "id"]
        constraints = [
            models.UniqueConstraint(
                fields=["host", "name"], condition=Q(removed_at__isnull=True), name="container_name_once_per_host"
            ),
        ]
        indexes = [models.Index(fields=["team", "state"])]

    def __str__(self) -> str:
        return self.name

    @property
    def reachable(self) -> list[str]:
        """The addresses that others can use, IPv4 first; link-local ones (RFC 4291 2.5.6) work on one link only."""
        usable = [address for address in self.addresses if not str(address).lower().startswith("fe80")]
        return sorted(usable, key=lambda address: ":" in str(address))

    @property
    def address(self) -> str:
        """The one to show in a list; empty if there is none."""
        return next(iter(self.reachable), "")
