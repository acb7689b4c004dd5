"""What can be bootstrapped, and what has been built of it where."""

from __future__ import annotations

from django.db import models

from contract.releases import ReleaseSpec
from machines.managers import ReleaseManager
from machines.models.host import Host


class Release(models.Model):
    """A recipe as data; contract.releases.ReleaseSpec checks it. Rows come from a data migration and operators."""

    slug = models.SlugField(max_length=48, unique=True)
    title = models.CharField(max_length=80)
    distribution = models.CharField(max_length=20)
    suite = models.CharField(max_length=31)
    variant = models.CharField(max_length=20, default="minbase")
    tool = models.CharField(max_length=20, default="mmdebstrap")
    mirror = models.CharField(max_length=200, blank=True)
    components = models.JSONField(default=list)
    packages = models.JSONField(default=list)
    active = models.BooleanField(default=True)
    position = models.PositiveIntegerField(default=100)

    objects = ReleaseManager()

    class Meta:
        ordering = ["position", "slug"]

    def __str__(self) -> str:
        return self.title

    def spec(self) -> ReleaseSpec:
        """The recipe as orders carry it. Raises pydantic.ValidationError if the row breaks a rule."""
        return ReleaseSpec.model_validate(
            {
                "slug": self.slug,
                "distribution": self.distribution,
                "suite": self.suite,
                "variant": self.variant,
                "tool": self.tool,
                "mirror": self.mirror,
                "components": self.components or ["main"],
                "packages": self.packages,
            }
        )


class BaseImage(models.Model):
    """A release built on a host, as the host reports it."""

    host = models.ForeignKey(Host, on_delete=models.CASCADE, related_name="base_images")
    slug = models.CharField(max_length=48)
    fingerprint = models.CharField(max_length=64)
    name = models.CharField(max_length=64)
    built_at = models.DateTimeField()
    bytes = models.BigIntegerField(null=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["host", "name"], name="base_image_once")]

    def __str__(self) -> str:
        return f"{self.slug} on {self.host}"
