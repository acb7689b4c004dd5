"""Hosts and how they are enrolled."""

from __future__ import annotations

import uuid
from datetime import timedelta

from django.conf import settings
from django.core.validators import RegexValidator
from django.db import models
from django.utils import timezone

from contract.live import OFFLINE_AFTER_S
from machines.managers import HostManager


class Host(models.Model):
    """A Linux server with systemd that runs the host agent."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.CharField(
        max_length=64,
        unique=True,
        validators=[
            RegexValidator(
                r"^[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?$", "Use lower-case letters, digits, dots and hyphens, as srv1."
            )
        ],
    )
    certificate_fingerprint = models.CharField(max_length=64, blank=True)
    """SHA-256 of the agent's client certificate; empty until enrolled."""
    enrolled_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    last_seen = models.DateTimeField(null=True, blank=True)
    facts = models.JSONField(default=dict)
    """contract.live.HostFacts as last reported, with the doctor's checks."""
    metrics = models.JSONField(default=dict)
    """contract.live.HostMetrics of the last heartbeat."""
    created_at = models.DateTimeField(auto_now_add=True)

    objects = HostManager()

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name

    @property
    def is_online(self) -> bool:
        if self.last_seen is None or self.revoked_at is not None:
            return False
        return timezone.now() - self.last_seen < timedelta(seconds=OFFLINE_AFTER_S)


class EnrolmentToken(models.Model):
    """One-time and short-lived; only its SHA-256 is kept. Using it makes `host`."""

    digest = models.CharField(max_length=64, unique=True)
    host_name = models.CharField(max_length=64)
    by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField()
    used_at = models.DateTimeField(null=True, blank=True)
    host = models.ForeignKey(Host, null=True, blank=True, on_delete=models.CASCADE, related_name="tokens")

    def __str__(self) -> str:
        return f"token for {self.host_name}"
