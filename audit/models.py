"""The audit trail: one row per act, chained by hashes so that a changed or missing row shows."""

from __future__ import annotations

from django.conf import settings
from django.db import models


class AuditEvent(models.Model):
    """Who did what to which object, when and from where. Written by `audit.services.record`, never changed."""

    seq = models.BigIntegerField(unique=True)
    """1, 2, 3 … without gap, in the order of the chain."""
    at = models.DateTimeField()
    actor = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")
    actor_key = models.BigIntegerField(null=True)
    """The actor's id as hashed: it stays when the account is deleted."""
    actor_name = models.CharField(max_length=150)
    """As it was then; `system` for schedules, `host:NAME` for what a host did."""
    action = models.CharField(max_length=60)
    """Stable dotted name such as container.create."""
    team_id = models.BigIntegerField(null=True, db_index=True)
    object_type = models.CharField(max_length=40, blank=True)
    object_id = models.CharField(max_length=64, blank=True)
    object_name = models.CharField(max_length=150, blank=True)
    detail = models.JSONField(default=dict)
    """Facts of the act, without secrets."""
    ip = models.GenericIPAddressField(null=True)
    request_id = models.CharField(max_length=64, blank=True)
    prev_hash = models.CharField(max_length=64)
    hash = models.CharField(max_length=64, unique=True)

    class Meta:
        ordering = ["-seq"]
        indexes = [
            models.Index(fields=["object_type", "object_id"]),
            models.Index(fields=["action", "-seq"]),
        ]

    def __str__(self) -> str:
        return f"{self.seq} {self.actor_name} {self.action} {self.object_name}"


class AuditHead(models.Model):
    """The one row that writers lock: the end of the chain."""

    seq = models.BigIntegerField(default=0)
    hash = models.CharField(max_length=64, default="0" * 64)

    def __str__(self) -> str:
        return f"{self.seq}"
