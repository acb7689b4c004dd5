"""People, teams and roles."""

from __future__ import annotations

from django.contrib.auth.models import User
from django.db import transaction

from audit.services import record
from teams.models import Membership, Role, Team

ADMIN = "admin"
DEFAULT_TEAM = "default"


@transaction.atomic
def admin_ensure(*, password: str) -> tuple[User, bool]:
    """The superuser `admin` in the team `default`, made if they are not there. True: made now.

    An admin who exists keeps their password.
    """
    user, made = User.objects.get_or_create(username=ADMIN, defaults={"is_superuser": True, "is_staff": True})
    if made:
        user.set_password(password)
        user.save(update_fields=["password"])
        record(by=None, action="user.create", obj=user, detail={"superuser": True})
    team, team_made = Team.objects.get_or_create(slug=DEFAULT_TEAM, defaults={"name": "Default"})
    if team_made:
        record(by=None, action="team.create", team_id=team.pk, obj=team)
    _, joined = Membership.objects.get_or_create(team=team, user=user, defaults={"role": Role.ADMIN})
    if joined:
        record(by=None, action="team.member_add", team_id=team.pk, obj=team, detail={"user": ADMIN, "role": Role.ADMIN})
    return user, made


def home_team(user: User) -> Team | None:
    """The team that a request without a team means: the person's only or first one in which they may create."""
    roles = (Role.DEVELOPER, Role.ADMIN)
    membership = (
        Membership.objects.filter(user=user, role__in=roles).select_related("team").order_by("created_at", "pk").first()
    )
    return membership.team if membership else None
