"""API tokens and the first account."""

from __future__ import annotations

import io
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.utils import timezone

from audit.models import AuditEvent
from teams.errors import Invalid, NotFound, PermissionDenied
from teams.models import ApiToken, Membership, Role, Team
from teams.services import home_team
from teams.services.tokens import api_token_create, api_token_revoke, token_user
from tests.factories import MembershipFactory, UserFactory

pytestmark = pytest.mark.django_db


def test_a_token_acts_as_its_owner(owner: User) -> None:
    _, plain = api_token_create(by=owner, user=owner, name="laptop")
    assert token_user(plain) == owner


def test_only_a_hash_is_kept_and_the_audit_row_has_no_secret(owner: User) -> None:
    token, plain = api_token_create(by=owner, user=owner, name="laptop")
    row = AuditEvent.objects.get(action="token.create")
    assert plain not in f"{token.__dict__} {row.__dict__}"
    assert token.prefix == plain[:12]


@pytest.mark.parametrize("wrong", ["", "nsw_", "nsw_" + "x" * 43, "Bearer x", "nsw_" + "x" * 500])
def test_a_wrong_token_is_nobody(wrong: str, owner: User) -> None:
    api_token_create(by=owner, user=owner, name="laptop")
    assert token_user(wrong) is None


def test_an_expired_token_is_nobody(owner: User) -> None:
    _, plain = api_token_create(by=owner, user=owner, name="old", expires_at=timezone.now() - timedelta(seconds=1))
    assert token_user(plain) is None


def test_a_locked_person_has_no_token(owner: User) -> None:
    _, plain = api_token_create(by=owner, user=owner, name="laptop")
    User.objects.filter(pk=owner.pk).update(is_active=False)
    assert token_user(plain) is None


def test_use_is_noted_at_most_once_a_minute(owner: User, django_assert_num_queries: object) -> None:
    token, plain = api_token_create(by=owner, user=owner, name="laptop")
    token_user(plain)
    token.refresh_from_db()
    assert token.last_used_at is not None
    with django_assert_num_queries(1):  # type: ignore[operator]
        token_user(plain)


def test_nobody_makes_or_revokes_a_token_for_another(owner: User, teammate: User) -> None:
    with pytest.raises(PermissionDenied):
        api_token_create(by=teammate, user=owner, name="theirs")
    token, plain = api_token_create(by=owner, user=owner, name="laptop")
    with pytest.raises(NotFound):
        api_token_revoke(by=teammate, token=token)
    api_token_revoke(by=owner, token=token)
    assert token_user(plain) is None


@pytest.mark.parametrize("name", ["", "   ", "x" * 81])
def test_a_token_needs_a_name(name: str, owner: User) -> None:
    with pytest.raises(Invalid, match="1 to 80"):
        api_token_create(by=owner, user=owner, name=name)


def test_the_command_prints_the_token_as_the_last_word(owner: User) -> None:
    out = io.StringIO()
    call_command("api_token", "owner", stdout=out)
    assert token_user(out.getvalue().split()[-1]) == owner


def test_the_command_says_who_is_unknown() -> None:
    with pytest.raises(CommandError, match="nobody"):
        call_command("api_token", "nobody")


def test_ensure_admin_makes_the_admin_once_and_keeps_the_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NSPAWNWEB_ADMIN_PASSWORD", "first password")
    call_command("ensure_admin", stdout=io.StringIO())
    monkeypatch.setenv("NSPAWNWEB_ADMIN_PASSWORD", "second password")
    call_command("ensure_admin", stdout=io.StringIO())
    admin = User.objects.get(username="admin")
    assert admin.is_superuser and admin.check_password("first password")
    assert Membership.objects.get(user=admin).role == Role.ADMIN
    assert Team.objects.get().slug == "default"


def test_ensure_admin_wants_a_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NSPAWNWEB_ADMIN_PASSWORD", raising=False)
    with pytest.raises(CommandError, match="10 characters"):
        call_command("ensure_admin")
    assert not User.objects.exists()


def test_the_home_team_is_the_first_in_which_one_may_create(team: Team) -> None:
    user = UserFactory()
    assert home_team(user) is None
    MembershipFactory(user=user, role=Role.VIEWER)
    assert home_team(user) is None
    MembershipFactory(user=user, team=team, role=Role.DEVELOPER)
    assert home_team(user) == team


def test_tokens_go_with_their_owner(owner: User) -> None:
    api_token_create(by=owner, user=owner, name="laptop")
    owner.delete()
    assert not ApiToken.objects.exists()
