"""What a caller may leave out or write by name: host, team, release."""

from __future__ import annotations

from uuid import UUID

from django.contrib.auth.models import User

from machines.models import Host, Release
from teams.errors import Conflict, Invalid
from teams.models import Team
from teams.permissions import Permission, teams_with
from teams.services import home_team


def as_uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


def host_named(user: User, text: str, *, field: str = "host") -> Host:
    """The host of this name or id that `user` may see."""
    ident = as_uuid(text)
    found = Host.objects.visible_to(user).filter(enrolled_at__isnull=False)
    host = found.filter(pk=ident).first() if ident else found.filter(name=text).first()
    if host is None:
        hint = "`GET hosts` lists the hosts."
        raise Invalid("unknown_host", f"There is no host {text[:64]!r}.", hint=hint, field=field)
    return host


def host_with_room(user: User, release: Release) -> Host:
    """The online host with most free space, among those that have the base image built if there are any."""
    found = Host.objects.visible_to(user).filter(enrolled_at__isnull=False, revoked_at__isnull=True)
    online = [host for host in found if host.is_online]
    if not online:
        raise Conflict(
            "no_host_online",
            "No host is online just now.",
            hint="Name a host to have the job wait for it, or ask an operator.",
        )
    built = set(release_hosts(release))
    return max(online, key=lambda host: (host.pk in built, int(host.metrics.get("pool_free_bytes") or 0)))


def release_hosts(release: Release) -> list[UUID]:
    """The hosts that have a base image of the release."""
    return list(Host.objects.filter(base_images__slug=release.slug).values_list("pk", flat=True))


def team_named(user: User, slug: str, *, field: str = "team") -> Team:
    """A team whose containers `user` may see; whether they may create there, the service says."""
    team = teams_with(user, Permission.CONTAINER_VIEW).filter(slug=slug).first()
    if team is None:
        raise Invalid("unknown_team", f"You are in no team {slug[:64]!r}.", field=field)
    return team


def team_of(user: User) -> Team:
    """The caller's own team; for one who is in none but may create everywhere, the only one there is."""
    team = home_team(user)
    if team is not None:
        return team
    found = list(teams_with(user, Permission.CONTAINER_CREATE)[:2])
    if len(found) != 1:
        why = "You may create in several." if found else "You may create in none."
        raise Invalid("team_needed", "Say which team the container is for.", why, "Send `team`.", field="team")
    return found[0]


def release_named(slug: str) -> Release:
    """The active release of this slug."""
    release = Release.objects.active().filter(slug=slug).first()
    if release is None:
        known = ", ".join(Release.objects.active().values_list("slug", flat=True)[:20])
        raise Invalid(
            "unknown_release", f"There is no release {slug[:64]!r}.", hint=f"Known: {known}.", field="release"
        )
    return release
