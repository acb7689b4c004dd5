"""Who reads what of the audit trail; told to the audit app at start."""

from __future__ import annotations

from django.contrib.auth.models import User

from audit.readers import Scope
from teams.permissions import TEAM_ROLES, Permission, access_of


def audit_scope(user: User) -> Scope:
    """Everything for an auditor; for team admins the rows of their teams."""
    access = access_of(user)
    if access.allowed(Permission.AUDIT_VIEW):
        return None
    return frozenset(team for team, role in access.roles.items() if Permission.AUDIT_VIEW in TEAM_ROLES[role])
