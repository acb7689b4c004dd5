"""What a host needs to be let into Redis again after Redis lost its users."""

from __future__ import annotations

from django.db import models


class HostLink(models.Model):
    """A host's Redis user. Written by `tasks.hostlink` alone; the password itself is known to the host only."""

    host_id = models.UUIDField(primary_key=True)
    password_sha256 = models.CharField(max_length=64)
    """Hex, as Redis keeps it (ACL SETUSER #HASH). The password has 256 random bits, so a bare hash is enough."""
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return str(self.host_id)
