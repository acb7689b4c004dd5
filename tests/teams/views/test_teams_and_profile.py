"""Teams and members; one's profile and tokens."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from django.test import Client

from audit.models import AuditEvent
from teams.models import ApiToken, Membership, Role, Team
from teams.services.tokens import api_token_create, token_user
from tests.factories import MembershipFactory, UserFactory

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("who", ["owner", "viewer", "team_admin", "operator", "auditor"])
def test_a_team_is_seen_by(who: str, client: Client, team: Team, request: pytest.FixtureRequest) -> None:
    client.force_login(request.getfixturevalue(who))
    assert "Web" in client.get("/teams/").content.decode()
    assert client.get("/teams/web/").status_code == 200


def test_a_stranger_meets_a_404(client: Client, team: Team, owner: User, stranger: User) -> None:
    client.force_login(stranger)
    member = Membership.objects.get(user=owner)
    assert client.get("/teams/web/").status_code == 404
    assert client.post("/teams/web/", {"username": "stranger", "role": "admin"}).status_code == 404
    assert client.post(f"/teams/web/members/{member.pk}/role/", {"role": "admin"}).status_code == 404
    assert client.post(f"/teams/web/members/{member.pk}/remove/").status_code == 404
    assert Membership.objects.filter(team=team).count() == 1


@pytest.mark.parametrize("who", ["owner", "viewer", "auditor"])
def test_members_are_managed_only_by_those_who_may(
    who: str, client: Client, team: Team, team_admin: User, request: pytest.FixtureRequest
) -> None:
    client.force_login(request.getfixturevalue(who))
    member = Membership.objects.get(user=team_admin)
    assert client.post("/teams/web/", {"username": "x", "role": "admin"}).status_code == 403
    assert client.post(f"/teams/web/members/{member.pk}/role/", {"role": "viewer"}).status_code == 403
    assert client.post(f"/teams/web/members/{member.pk}/remove/").status_code == 403
    assert "Take out" not in client.get("/teams/web/").content.decode()


@pytest.mark.parametrize("who", ["team_admin", "operator"])
def test_somebody_comes_in_changes_role_and_leaves(
    who: str, client: Client, team: Team, request: pytest.FixtureRequest
) -> None:
    newcomer = UserFactory(username="newcomer")
    client.force_login(request.getfixturevalue(who))
    assert client.post("/teams/web/", {"username": "newcomer", "role": "viewer"}).status_code == 302
    member = Membership.objects.get(user=newcomer)
    assert member.role == Role.VIEWER
    client.post(f"/teams/web/members/{member.pk}/role/", {"role": "developer"})
    member.refresh_from_db()
    assert member.role == Role.DEVELOPER
    assert client.post(f"/teams/web/members/{member.pk}/remove/").status_code == 302
    assert not Membership.objects.filter(user=newcomer).exists()
    acts = list(
        AuditEvent.objects.filter(action__startswith="team.member").order_by("seq").values_list("action", flat=True)
    )
    assert acts == ["team.member_add", "team.member_role", "team.member_remove"]


def test_what_is_wrong_is_told_at_the_field(client: Client, team: Team, team_admin: User, owner: User) -> None:
    client.force_login(team_admin)
    for data, words in (
        ({"username": "nobody", "role": "viewer"}, "Nobody here logs in as nobody"),
        ({"username": "owner", "role": "viewer"}, "is in Web already"),
        ({"username": "", "role": "viewer"}, "Write the person"),
        ({"username": "owner", "role": "king"}, "king"),
    ):
        response = client.post("/teams/web/", data)
        assert response.status_code == 422
        assert words in response.content.decode()


def test_the_last_admin_stays(client: Client, team: Team, team_admin: User) -> None:
    client.force_login(team_admin)
    member = Membership.objects.get(user=team_admin)
    for rest, data in (("role/", {"role": "viewer"}), ("remove/", {})):
        response = client.post(f"/teams/web/members/{member.pk}/{rest}", data)
        assert response.status_code == 409
        assert "last team admin" in response.content.decode()
    MembershipFactory(team=team, role=Role.ADMIN)
    assert client.post(f"/teams/web/members/{member.pk}/remove/").status_code == 302


def test_operators_make_teams(client: Client, operator: User, team: Team) -> None:
    client.force_login(operator)
    assert client.post("/teams/", {"name": "Data science"}).headers["Location"] == "/teams/data-science/"
    for name in ("", "web", "***", "x" * 49):
        assert client.post("/teams/", {"name": name}).status_code == 422
    assert Team.objects.count() == 2


@pytest.mark.parametrize("who", ["owner", "team_admin", "auditor"])
def test_others_do_not(who: str, client: Client, request: pytest.FixtureRequest) -> None:
    client.force_login(request.getfixturevalue(who))
    assert client.post("/teams/", {"name": "Mine"}).status_code == 403
    assert not Team.objects.filter(name="Mine").exists()


def test_a_token_is_shown_once_works_and_is_revoked(client: Client, owner: User) -> None:
    client.force_login(owner)
    plain = client.post("/profile/", {"name": "laptop", "days": "30"}).context["plain"]
    assert token_user(plain) == owner
    token = ApiToken.objects.get()
    assert token.expires_at is not None
    page = client.get("/profile/").content.decode()
    assert "laptop" in page and plain not in page
    assert client.post(f"/profile/tokens/{token.pk}/revoke/").status_code == 302
    assert token_user(plain) is None


@pytest.mark.parametrize("data", [{"name": ""}, {"name": "x" * 81}, {"name": "x", "days": "9999"}])
def test_a_bad_token_form_makes_none(data: dict[str, str], client: Client, owner: User) -> None:
    client.force_login(owner)
    assert client.post("/profile/", data).status_code == 422
    assert not ApiToken.objects.exists()


def test_nobody_revokes_somebody_elses_token(client: Client, owner: User, operator: User) -> None:
    token, _ = api_token_create(by=owner, user=owner, name="laptop")
    client.force_login(operator)
    assert client.post(f"/profile/tokens/{token.pk}/revoke/").status_code == 404
    assert "laptop" not in client.get("/profile/").content.decode()


def test_anonymous_is_sent_to_the_login(client: Client, team: Team) -> None:
    for address in ("/teams/", "/teams/web/", "/profile/"):
        assert client.get(address).status_code == 302


def test_no_act_without_the_csrf_token(team: Team, team_admin: User) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(team_admin)
    assert client.post("/teams/web/", {"username": "x", "role": "viewer"}).status_code == 403
    assert client.post("/profile/", {"name": "x"}).status_code == 403


def test_the_styleguide_is_for_staff(client: Client, owner: User) -> None:
    client.force_login(owner)
    assert client.get("/styleguide/").status_code == 404
    client.force_login(UserFactory(is_staff=True))
    assert client.get("/styleguide/").status_code == 200


def test_the_password_page_has_our_look(client: Client, owner: User) -> None:
    client.force_login(owner)
    assert "Present password" in client.get("/accounts/password/change/").content.decode()
