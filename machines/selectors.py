"""Reads over containers for lists, by whoever asks."""

from __future__ import annotations

from django.db.models import Q, QuerySet

from machines.models import Container, Host
from teams.models import Team
from teams.permissions import AnyUser


def container_list(
    user: AnyUser,
    *,
    q: str = "",
    host: Host | None = None,
    team: Team | None = None,
    state: str = "",
    mine: bool = False,
) -> QuerySet[Container]:
    """Standing containers that `user` may see, with host, team, owner and release loaded, by name.

    `q`: every word must be in the name, or in the host's, team's, owner's or release's, or begin an address.
    """
    found: QuerySet[Container] = Container.objects.visible_to(user).standing()
    for word in q.split()[:8]:
        found = found.filter(
            Q(name__icontains=word)
            | Q(host__name__icontains=word)
            | Q(team__name__icontains=word)
            | Q(owner__username__icontains=word)
            | Q(release__slug__icontains=word)
            | Q(addresses__icontains=word)
        )
    if host is not None:
        found = found.filter(host=host)
    if team is not None:
        found = found.filter(team=team)
    if state:
        found = found.filter(state=state)
    if mine:
        found = found.filter(owner_id=user.pk)
    return found.select_related("host", "team", "owner", "release").order_by("name", "id")
