"""Who may do what, by role; what one may not see is not found."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import AnonymousUser, User

from teams.errors import NotFound, PermissionDenied
from teams.models import Team
from teams.permissions import Permission as P
from teams.permissions import access_of, allowed, require, teams_with
from tests.factories import TeamFactory, UserFactory

pytestmark = pytest.mark.django_db

IN_TEAM = {
    "viewer": {P.CONTAINER_VIEW, P.CONTAINER_JOURNAL, P.JOB_VIEW, P.HOST_VIEW, P.TEAM_VIEW},
    "stranger": set(),
    "auditor": {P.CONTAINER_VIEW, P.CONTAINER_JOURNAL, P.JOB_VIEW, P.HOST_VIEW, P.TEAM_VIEW, P.AUDIT_VIEW},
    "operator": set(P) - {P.AUDIT_VIEW},
}
IN_TEAM["teammate"] = IN_TEAM["viewer"] | {
    P.CONTAINER_CREATE,
    P.CONTAINER_OPERATE,
    P.CONTAINER_TERMINAL,
    P.JOB_CANCEL,
    P.JOB_RETRY,
}
IN_TEAM["team_admin"] = IN_TEAM["teammate"] | {P.CONTAINER_REMOVE, P.TEAM_MANAGE, P.AUDIT_VIEW}


@pytest.mark.parametrize("who", sorted(IN_TEAM))
def test_each_role_has_exactly_its_rights_in_a_team(who: str, team: Team, request: pytest.FixtureRequest) -> None:
    user = request.getfixturevalue(who)
    assert {p for p in P if allowed(user, p, team)} == IN_TEAM[who]


@pytest.mark.parametrize(
    ("who", "rights"),
    [
        ("teammate", {P.HOST_VIEW}),
        ("stranger", {P.HOST_VIEW}),
        ("operator", set(P) - {P.AUDIT_VIEW}),
        ("auditor", IN_TEAM["auditor"]),
    ],
)
def test_without_a_team_only_site_roles_count_except_for_seeing_hosts(
    who: str, rights: set[P], request: pytest.FixtureRequest
) -> None:
    user = request.getfixturevalue(who)
    assert {p for p in P if allowed(user, p)} == rights


def test_a_developer_removes_their_own_and_nobody_elses(team: Team, owner: User, teammate: User) -> None:
    assert allowed(owner, P.CONTAINER_REMOVE, team, owner_id=owner.pk)
    assert not allowed(teammate, P.CONTAINER_REMOVE, team, owner_id=owner.pk)
    assert not allowed(owner, P.CONTAINER_REMOVE, team)


def test_a_viewer_does_not_even_remove_what_once_was_theirs(team: Team, viewer: User) -> None:
    assert not allowed(viewer, P.CONTAINER_REMOVE, team, owner_id=viewer.pk)


def test_someone_in_no_team_sees_nothing() -> None:
    loner = UserFactory()
    assert not any(allowed(loner, p) for p in P)
    assert list(teams_with(loner, P.TEAM_VIEW)) == []


def test_an_inactive_or_anonymous_person_may_nothing(owner: User, operator: User, team: Team) -> None:
    for user in (owner, operator):
        user.is_active = False
        assert not any(allowed(user, p, team) for p in P)
    assert not any(allowed(AnonymousUser(), p, team) for p in P)


def test_a_superuser_is_operator_and_auditor(team: Team) -> None:
    root = UserFactory(is_superuser=True)
    assert all(allowed(root, p, team) for p in P)


def test_refusal_to_who_sees_it_is_a_denial(team: Team, viewer: User) -> None:
    with pytest.raises(PermissionDenied, match="operate this container"):
        require(viewer, P.CONTAINER_OPERATE, team)


def test_refusal_to_who_may_not_see_it_is_not_found(team: Team, stranger: User) -> None:
    with pytest.raises(NotFound):
        require(stranger, P.CONTAINER_OPERATE, team)


def test_hosts_are_denied_and_not_hidden(teammate: User) -> None:
    with pytest.raises(PermissionDenied):
        require(teammate, P.HOST_MANAGE)


def test_teams_with_lists_only_those_where_the_right_is(team: Team, viewer: User, owner: User, operator: User) -> None:
    other = TeamFactory()
    assert list(teams_with(viewer, P.CONTAINER_VIEW)) == [team]
    assert list(teams_with(viewer, P.CONTAINER_CREATE)) == []
    assert list(teams_with(owner, P.CONTAINER_CREATE)) == [team]
    assert set(teams_with(operator, P.CONTAINER_CREATE)) == {team, other}


def test_an_access_answers_any_number_of_questions_with_two_queries(
    owner: User, team: Team, django_assert_num_queries: object
) -> None:
    with django_assert_num_queries(2):  # type: ignore[operator]
        access = access_of(owner)
        assert [access.allowed(p, team.pk) for p in P]
