"""What can be bootstrapped."""

from __future__ import annotations

from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field

from contract.names import Mirror, PackageName, Slug, Suite


class Distribution(StrEnum):
    """Closed: the agent keeps per distribution which keyring verifies it."""

    DEBIAN = "debian"
    UBUNTU = "ubuntu"


class Variant(StrEnum):
    """mmdebstrap(1) and debootstrap(8) know both."""

    MINBASE = "minbase"
    STANDARD = "important"


class BuildTool(StrEnum):
    MMDEBSTRAP = "mmdebstrap"
    DEBOOTSTRAP = "debootstrap"


class ReleaseSpec(BaseModel):
    """A release as the portal sends it. `fingerprint` tells one recipe from another."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    slug: Slug
    distribution: Distribution
    suite: Suite
    variant: Variant = Variant.MINBASE
    tool: BuildTool = BuildTool.MMDEBSTRAP
    mirror: Mirror = ""
    components: tuple[Suite, ...] = Field(default=("main",), max_length=8)
    packages: tuple[PackageName, ...] = Field(default=(), max_length=100)
