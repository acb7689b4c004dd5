"""What the agent wrote down on the host: which machines a portal made, and which base images stand."""

from __future__ import annotations

import contextlib
import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from agent import paths
from agent.config import write_private
from contract.live import ImageInfo
from contract.releases import ReleaseSpec

BASE_PREFIX = "nspawnweb-base-"
PREPARATION = 1
"""Raised when base images are prepared otherwise: then old ones no longer fit."""


def fingerprint(release: ReleaseSpec) -> str:
    """Tells one recipe from another, whatever it is called: SHA-256 in hex."""
    recipe = release.model_dump(mode="json", exclude={"slug"})
    recipe["packages"] = sorted(set(recipe["packages"]))
    recipe["preparation"] = PREPARATION
    return hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()


def base_name(release: ReleaseSpec) -> str:
    """Image name of a release's base. Dots of a slug become hyphens: at most 64 characters, [a-z0-9-]."""
    slug = release.slug.replace(".", "-").strip("-")[:40].strip("-")
    return f"{BASE_PREFIX}{slug}-{fingerprint(release)[:8]}"


def _machine_file(name: str) -> Path:
    return paths.state_dir() / "machines" / f"{name}.json"


def _image_file(name: str) -> Path:
    return paths.state_dir() / "images" / f"{name}.json"


def _read(file: Path) -> dict[str, Any] | None:
    with contextlib.suppress(FileNotFoundError, ValueError):
        value = json.loads(file.read_text())
        return value if isinstance(value, dict) else None
    return None


def _write(file: Path, value: dict[str, Any]) -> None:
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_private(file, json.dumps(value, indent=2, default=str) + "\n")


def machine(name: str) -> dict[str, Any] | None:
    """The record of a container that a portal made; None if there is none."""
    return _read(_machine_file(name))


def write_machine(name: str, *, job: UUID, base: str, release: ReleaseSpec) -> None:
    """`job` is the one that made it: a resumed job knows its own work by it."""
    made = datetime.now(UTC).isoformat()
    _write(
        _machine_file(name), {"job": str(job), "base": base, "release": release.model_dump(mode="json"), "made": made}
    )


def drop_machine(name: str) -> None:
    _machine_file(name).unlink(missing_ok=True)


def write_image(release: ReleaseSpec, *, bytes_: int | None) -> ImageInfo:
    """Record that a release's base image stands."""
    info = ImageInfo(
        slug=release.slug,
        fingerprint=fingerprint(release),
        name=base_name(release),
        built=datetime.now(UTC),
        bytes=bytes_,
    )
    _write(_image_file(info.name), info.model_dump(mode="json"))
    return info


def _builder_file(release: ReleaseSpec) -> Path:
    return paths.state_dir() / "images" / f"{base_name(release)}.builder"


def write_builder(release: ReleaseSpec, job: UUID, *, stored: bool) -> None:
    """Note which job builds the base, or is about to store it: after the agent died, the build is found by it."""
    _write(_builder_file(release), {"job": str(job), "stored": stored})


def drop_builder(release: ReleaseSpec) -> None:
    """The build failed."""
    _builder_file(release).unlink(missing_ok=True)


def builder(release: ReleaseSpec) -> tuple[UUID | None, bool]:
    """(the job that builds the base or built it, whether it came to storing it)."""
    note = _read(_builder_file(release)) or {}
    with contextlib.suppress(KeyError, ValueError):
        return UUID(note["job"]), bool(note["stored"])
    return None, False


def drop_image(name: str) -> None:
    _image_file(name).unlink(missing_ok=True)


def images() -> list[ImageInfo]:
    """Records of base images whose tree is there."""
    found = []
    for file in sorted((paths.state_dir() / "images").glob(f"{BASE_PREFIX}*.json")):
        raw = _read(file)
        if raw is not None and (paths.MACHINES / file.stem).is_dir():
            found.append(ImageInfo.model_validate(raw))
    return found
