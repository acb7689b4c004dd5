"""Teams and who is in them."""

from __future__ import annotations

from django.contrib.auth.models import User
from django.db import IntegrityError, transaction

from audit.services import record
from teams.errors import Conflict, Invalid, NotFound
from teams.models import Membership, Role, Team
from teams.permissions import Permission, require


@transaction.atomic
def team_create(*, by: User, name: str, slug: str) -> Team:
    """A new team, without members. For operators."""
    require(by, Permission.TEAM_MANAGE)
    if Team.objects.filter(name=name).exists() or Team.objects.filter(slug=slug).exists():
        raise Conflict("team_taken", f"There is a team named {name} already.", hint="Choose another name.")
    team = Team.objects.create(name=name, slug=slug)
    record(by=by, action="team.create", team_id=team.pk, obj=team)
    return team


@transaction.atomic
def member_add(*, by: User, team: Team, username: str, role: str) -> Membership:
    """Take a person who has an account into the team."""
    require(by, Permission.TEAM_MANAGE, team)
    _check_role(role)
    user = User.objects.filter(username=username, is_active=True).first()
    if user is None:
        raise Invalid(
            "user_unknown",
            f"Nobody here logs in as {username}.",
            hint="Write the name as they type it at log-in; an operator makes new accounts.",
            field="username",
        )
    try:
        with transaction.atomic():
            membership = Membership.objects.create(team=team, user=user, role=role)
    except IntegrityError as error:
        what = f"{username} is in {team.name} already."
        raise Conflict("member_already", what, hint="Change the role below.") from error
    record(by=by, action="team.member_add", team_id=team.pk, obj=team, detail={"user": username, "role": role})
    return membership


@transaction.atomic
def member_set_role(*, by: User, membership: Membership, role: str) -> Membership:
    """Give a member another role; the team keeps at least one admin."""
    team = membership.team
    require(by, Permission.TEAM_MANAGE, team)
    _check_role(role)
    current = _locked(team, membership)
    if current.role == role:
        return current
    if current.role == Role.ADMIN:
        _keep_an_admin(team, current)
    detail = {"user": current.user.get_username(), "role": role, "before": current.role}
    current.role = role
    current.save(update_fields=["role"])
    record(by=by, action="team.member_role", team_id=team.pk, obj=team, detail=detail)
    return current


@transaction.atomic
def member_remove(*, by: User, membership: Membership) -> None:
    """Take a person out of the team. Their containers stay with the team."""
    team = membership.team
    require(by, Permission.TEAM_MANAGE, team)
    current = _locked(team, membership)
    if current.role == Role.ADMIN:
        _keep_an_admin(team, current)
    detail = {"user": current.user.get_username(), "role": current.role}
    current.delete()
    record(by=by, action="team.member_remove", team_id=team.pk, obj=team, detail=detail)


def _check_role(role: str) -> None:
    if role not in Role.values:
        what = f"{role[:40]!r} is not a role."
        raise Invalid("role_unknown", what, hint="Pick viewer, developer or admin.", field="role")


def _locked(team: Team, membership: Membership) -> Membership:
    """The row as it is now. The team's row is the lock: two admins who demote each other must not both succeed."""
    Team.objects.select_for_update().get(pk=team.pk)
    current = Membership.objects.select_related("user", "team").filter(pk=membership.pk).first()
    if current is None:
        raise NotFound("This person is no longer in the team.")
    return current


def _keep_an_admin(team: Team, leaving: Membership) -> None:
    if not team.memberships.filter(role=Role.ADMIN).exclude(pk=leaving.pk).exists():
        raise Conflict(
            "last_admin",
            f"{leaving.user} is the last team admin of {team.name}.",
            "A team without an admin could not be managed by its own people.",
            "Make somebody else team admin first.",
        )
