"""Releases as orders carry them."""

from __future__ import annotations

from contract.releases import ReleaseSpec
from machines.models import Release
from teams.errors import Invalid


def release_spec(release: Release) -> ReleaseSpec:
    """The recipe, checked. Raises Invalid, in words for a person, if the row breaks a rule."""
    try:
        return release.spec()
    except ValueError as error:
        raise Invalid(
            "release_broken",
            f"The recipe of {release.title} breaks a rule.",
            str(error)[:500],
            "Ask an operator to mend it.",
            field="release",
        ) from error
