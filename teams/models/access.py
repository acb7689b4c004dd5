"""Roles over the whole site."""

from __future__ import annotations

from django.conf import settings
from django.db import models


class SiteRoleName(models.TextChoices):
    OPERATOR = "operator", "Operator"
    """Enrols hosts and may act on every container."""
    AUDITOR = "auditor", "Auditor"
    """Sees everything, changes nothing."""


class SiteRole(models.Model):
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="site_roles")
    role = models.CharField(max_length=20, choices=SiteRoleName.choices)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["user", "role"], name="site_role_once")]

    def __str__(self) -> str:
        return f"{self.user} is {self.role}"
