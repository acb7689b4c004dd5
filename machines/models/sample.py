"""Samples for the charts: one row per heartbeat, kept for some hours."""

from __future__ import annotations

from django.db import models

from machines.models.container import Container
from machines.models.host import Host


class ContainerSample(models.Model):
    """contract.live.Metrics of one container. `cpu_usec` is cumulative."""

    container = models.ForeignKey(Container, on_delete=models.CASCADE, related_name="samples")
    at = models.DateTimeField()
    data = models.JSONField()

    class Meta:
        indexes = [models.Index(fields=["container", "at"]), models.Index(fields=["at"])]

    def __str__(self) -> str:
        return f"{self.container} at {self.at}"


class HostSample(models.Model):
    """contract.live.HostMetrics of one host."""

    host = models.ForeignKey(Host, on_delete=models.CASCADE, related_name="samples")
    at = models.DateTimeField()
    data = models.JSONField()

    class Meta:
        indexes = [models.Index(fields=["host", "at"]), models.Index(fields=["at"])]

    def __str__(self) -> str:
        return f"{self.host} at {self.at}"
