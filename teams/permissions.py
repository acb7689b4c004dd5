"""Who may do what: one table, one check.

A team role counts within its team, a site role everywhere. What a person may not even see raises NotFound, so that
nobody learns what exists; what they see but may not change raises PermissionDenied.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from django.contrib.auth.models import AnonymousUser, User
from django.db.models import Q, QuerySet

from teams.errors import NotFound, PermissionDenied
from teams.models import Membership, Role, SiteRole, SiteRoleName, Team

AnyUser: TypeAlias = User | AnonymousUser


class Permission(StrEnum):
    """Every act that is guarded. The value is shown to nobody; the name is what code says."""

    CONTAINER_VIEW = "container.view"
    CONTAINER_CREATE = "container.create"
    CONTAINER_OPERATE = "container.operate"
    CONTAINER_TERMINAL = "container.terminal"
    CONTAINER_JOURNAL = "container.journal"
    CONTAINER_REMOVE = "container.remove"
    CONTAINER_ADOPT = "container.adopt"
    JOB_VIEW = "job.view"
    JOB_CANCEL = "job.cancel"
    JOB_RETRY = "job.retry"
    JOB_DECLARE_LOST = "job.declare_lost"
    HOST_VIEW = "host.view"
    HOST_MANAGE = "host.manage"
    IMAGE_BUILD = "image.build"
    TEAM_VIEW = "team.view"
    TEAM_MANAGE = "team.manage"
    AUDIT_VIEW = "audit.view"


P = Permission
_VIEWER = frozenset({P.CONTAINER_VIEW, P.CONTAINER_JOURNAL, P.JOB_VIEW, P.HOST_VIEW, P.TEAM_VIEW})
_DEVELOPER = _VIEWER | {P.CONTAINER_CREATE, P.CONTAINER_OPERATE, P.CONTAINER_TERMINAL, P.JOB_CANCEL, P.JOB_RETRY}
_TEAM_ADMIN = _DEVELOPER | {P.CONTAINER_REMOVE, P.TEAM_MANAGE, P.AUDIT_VIEW}

TEAM_ROLES: dict[str, frozenset[Permission]] = {
    Role.VIEWER: _VIEWER,
    Role.DEVELOPER: _DEVELOPER,
    Role.ADMIN: _TEAM_ADMIN,
}
SITE_ROLES: dict[str, frozenset[Permission]] = {
    SiteRoleName.OPERATOR: frozenset(Permission) - {P.AUDIT_VIEW},
    SiteRoleName.AUDITOR: _VIEWER | {P.AUDIT_VIEW},
}
OWN: dict[Permission, frozenset[str]] = {P.CONTAINER_REMOVE: frozenset({Role.DEVELOPER})}
"""What a team role may do to a person's own things, though not to everybody's."""
SITE_WIDE = frozenset({P.HOST_VIEW})
"""A team role that has one of these has it without naming a team: hosts belong to no team."""

_SEEN_BY = {"container": P.CONTAINER_VIEW, "job": P.JOB_VIEW, "host": P.HOST_VIEW, "image": P.HOST_VIEW}


@dataclass(frozen=True)
class Access:
    """A person's rights at one moment: two queries, then any number of checks (lists, pages)."""

    user_id: int | None
    site: frozenset[Permission]
    roles: dict[int, str]
    """Team id -> role."""

    def allowed(self, permission: Permission, team_id: int | None = None, owner_id: int | None = None) -> bool:
        if permission in self.site:
            return True
        if team_id is None:
            return permission in SITE_WIDE and any(permission in TEAM_ROLES[role] for role in self.roles.values())
        role = self.roles.get(team_id)
        if role is None:
            return False
        own = owner_id is not None and owner_id == self.user_id and role in OWN.get(permission, frozenset())
        return permission in TEAM_ROLES[role] or own


def access_of(user: AnyUser) -> Access:
    """The rights of `user` now; an inactive or anonymous person has none."""
    if not user.is_authenticated or not user.is_active:
        return Access(None, frozenset(), {})
    roles = dict(Membership.objects.filter(user=user).values_list("team_id", "role"))
    names = set(SiteRole.objects.filter(user=user).values_list("role", flat=True))
    if user.is_superuser:
        names |= set(SITE_ROLES)
    site = frozenset().union(*(SITE_ROLES[name] for name in names)) if names else frozenset[Permission]()
    return Access(user.pk, site, roles)


def allowed(user: AnyUser, permission: Permission, team: Team | None = None, *, owner_id: int | None = None) -> bool:
    """True if `user` may do `permission` in `team` (None: on the whole site). `owner_id`: whose thing it is."""
    return access_of(user).allowed(permission, team.pk if team else None, owner_id)


def require(user: AnyUser, permission: Permission, team: Team | None = None, *, owner_id: int | None = None) -> None:
    """As `allowed`, but raises: NotFound for what the person may not see, else PermissionDenied."""
    access = access_of(user)
    team_id = team.pk if team else None
    if access.allowed(permission, team_id, owner_id):
        return
    seen = _SEEN_BY.get(permission.value.partition(".")[0], P.TEAM_VIEW)
    if team is not None and not access.allowed(seen, team_id):
        raise NotFound()
    raise PermissionDenied(
        f"You may not {_in_words(permission)}.",
        f"Your role in {team.name} does not include it." if team else "It takes an operator.",
        "Ask a team admin." if team else "Ask an operator of this portal.",
    )


def teams_with(user: AnyUser, permission: Permission) -> QuerySet[Team]:
    """The teams in which `user` has `permission`, by name."""
    access = access_of(user)
    if permission in access.site:
        return Team.objects.all()
    fitting = [team_id for team_id, role in access.roles.items() if permission in TEAM_ROLES[role]]
    return Team.objects.filter(pk__in=fitting)


def team_filter(user: AnyUser, permission: Permission, field: str = "team") -> Q:
    """A Q that keeps the rows whose team (`field`) gives `user` the permission. For `visible_to` of other rooms."""
    access = access_of(user)
    if permission in access.site:
        return Q()
    fitting = [team_id for team_id, role in access.roles.items() if permission in TEAM_ROLES[role]]
    return Q(**{f"{field}__in": fitting})


def _in_words(permission: Permission) -> str:
    words = {
        P.CONTAINER_OPERATE: "operate this container",
        P.CONTAINER_CREATE: "create containers here",
        P.CONTAINER_TERMINAL: "open a terminal in this container",
        P.CONTAINER_REMOVE: "remove this container",
        P.CONTAINER_ADOPT: "adopt this machine",
        P.JOB_CANCEL: "cancel this job",
        P.JOB_RETRY: "run this job again",
        P.JOB_DECLARE_LOST: "declare this job lost",
        P.HOST_MANAGE: "manage hosts",
        P.IMAGE_BUILD: "build base images",
        P.TEAM_MANAGE: "manage this team",
        P.AUDIT_VIEW: "read the audit trail",
    }
    return words.get(permission, "see this")
