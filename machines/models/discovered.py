"""Machines that a host has and no person has claimed."""

from __future__ import annotations

from django.db import models

from machines.models.host import Host


class DiscoveredMachine(models.Model):
    """Made by hand, or lost by this portal. An operator can adopt it for a team."""

    host = models.ForeignKey(Host, on_delete=models.CASCADE, related_name="discovered")
    name = models.CharField(max_length=64)
    info = models.JSONField()
    """contract.live.MachineInfo."""
    first_seen = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["name"]
        constraints = [models.UniqueConstraint(fields=["host", "name"], name="discovered_once")]

    def __str__(self) -> str:
        return f"{self.name} on {self.host}"
