"""Terminals that are open, and single-use tickets to them."""

from __future__ import annotations

import uuid

from django.conf import settings
from django.db import models


class TerminalSession(models.Model):
    """One shell in one container, of one person. It outlives a page; its ticket is used once."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="terminals")
    session_key_digest = models.CharField(max_length=64)
    """SHA-256 of the browser session that opened it: another browser of the same person gets its own."""
    host_id = models.UUIDField()
    container_id = models.UUIDField(db_index=True)
    container_name = models.CharField(max_length=64)
    ticket_digest = models.CharField(max_length=64, blank=True, db_index=True)
    ticket_expires_at = models.DateTimeField(null=True, blank=True)
    input_seq = models.BigIntegerField(default=0)
    opened_at = models.DateTimeField(auto_now_add=True)
    requested_at = models.DateTimeField(null=True, blank=True)
    """When the host was asked to open the shell."""
    closed_at = models.DateTimeField(null=True, blank=True)
    closed_reason = models.CharField(max_length=300, blank=True)

    def __str__(self) -> str:
        return f"{self.user} in {self.container_name}"
