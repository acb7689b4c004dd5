"""Create: the form, its preview, and what is said when something is wrong."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from contract.names import check_container_name
from machines.forms.names import suggest_name
from machines.models import Container, Host, Release
from tasks.models import Job
from teams.models import Team
from tests.factories import BaseImageFactory, ContainerFactory, HostFactory, TeamFactory

pytestmark = pytest.mark.django_db
URL = "/containers/new/"


@pytest.fixture
def data(team: Team, host: Host, release: Release) -> dict[str, Any]:
    return {"name": "web1", "release": release.slug, "host": str(host.pk), "team": team.pk, "start": "on"}


def test_one_press_is_enough(client: Client, owner: User, team: Team, host: Host, release: Release) -> None:
    """Everything is filled in already, and what is filled in is accepted."""
    client.force_login(owner)
    form = client.get(URL).context["form"]
    response = client.post(URL, {key: value for key, value in form.initial.items() if value})
    container = Container.objects.get()
    assert response.headers["Location"] == f"/containers/{container.pk}/"
    assert (container.host, container.team, container.owner) == (host, team, owner)
    assert Job.objects.get().container_id == container.pk


def test_suggested_names_keep_the_rules() -> None:
    for _ in range(200):
        check_container_name(suggest_name())


def test_anonymous_is_sent_to_the_login(client: Client, data: dict[str, Any]) -> None:
    assert client.get(URL).status_code == 302
    assert client.post(URL, data).status_code == 302
    assert not Container.objects.exists()


@pytest.mark.parametrize("who", ["viewer", "stranger", "auditor"])
def test_nothing_is_made_for(who: str, client: Client, data: dict[str, Any], request: pytest.FixtureRequest) -> None:
    client.force_login(request.getfixturevalue(who))
    response = client.post(URL, data)
    assert response.status_code == 422
    assert not Container.objects.exists()


def test_an_operator_makes_one_for_any_team(client: Client, operator: User, data: dict[str, Any]) -> None:
    client.force_login(operator)
    assert client.post(URL, data).status_code == 302


@pytest.mark.parametrize(
    ("field", "value", "word"),
    [
        ("name", "", "required"),
        ("name", "Web1", "lower-case"),
        ("name", "-web", "lower-case"),
        ("name", "web_1", "lower-case"),
        ("name", "../etc", "lower-case"),
        ("name", "--help", "lower-case"),
        ("name", "a" * 49, "49 characters"),
        ("name", "nspawnweb-x", "kept for the system"),
        ("release", "debian-slink", "Pick one"),
        ("release", "", "Pick a release"),
        ("host", "00000000-0000-0000-0000-000000000000", "Pick one"),
        ("host", "nonsense", "Pick one"),
        ("team", "999999", "Pick one"),
        ("root_password", "short", "5 characters"),
        ("root_password", "line\nbreak here", "character"),
    ],
)
def test_what_is_wrong_is_said_at_the_field(
    field: str, value: str, word: str, client: Client, owner: User, data: dict[str, Any]
) -> None:
    client.force_login(owner)
    response = client.post(URL, data | {field: value})
    assert response.status_code == 422
    errors = response.context["form"].errors
    assert word in " ".join(errors[field])
    assert not Container.objects.exists()


def test_a_taken_name_is_said_at_the_name(client: Client, owner: User, data: dict[str, Any], host: Host) -> None:
    ContainerFactory(name="web1", host=host, team=TeamFactory())
    client.force_login(owner)
    response = client.post(URL, data)
    assert "taken" in " ".join(response.context["form"].errors["name"])
    elsewhere = HostFactory()
    assert client.post(URL, data | {"host": str(elsewhere.pk)}).status_code == 302


def test_a_revoked_host_is_not_offered(client: Client, owner: User, data: dict[str, Any], host: Host) -> None:
    Host.objects.update(revoked_at=timezone.now())
    client.force_login(owner)
    assert client.get(URL).context["form"].hosts == []
    assert client.post(URL, data).status_code == 422


def test_an_offline_host_says_so_and_is_not_the_first_choice(
    client: Client, owner: User, host: Host, team: Team, release: Release
) -> None:
    Host.objects.update(last_seen=timezone.now() - timedelta(hours=1))
    online = HostFactory()
    client.force_login(owner)
    response = client.get(URL)
    assert response.context["form"].initial["host"] == online.pk
    assert "Offline" in response.content.decode()


def test_the_root_password_comes_back_in_no_page(client: Client, owner: User, data: dict[str, Any]) -> None:
    client.force_login(owner)
    response = client.post(URL, data | {"name": "BAD", "root_password": "very-secret-thing"})
    assert "very-secret-thing" not in response.content.decode()


def test_the_preview_shows_the_commands(client: Client, owner: User, data: dict[str, Any], host: Host) -> None:
    client.force_login(owner)
    page = client.post(f"{URL}preview/", data | {"root_password": "very-secret-thing"}).content.decode()
    assert "<html" not in page
    assert "machinectl" in page and "web1" in page
    assert "very-secret-thing" not in page
    assert "built first" in page
    BaseImageFactory(host=host, slug=data["release"])
    assert "built first" not in client.post(f"{URL}preview/", data).content.decode()
    assert not Container.objects.exists()


@pytest.mark.parametrize("name", ["", "Bad Name", "<script>alert(1)</script>"])
def test_the_preview_of_a_bad_form_says_what_is_missing(
    name: str, client: Client, owner: User, data: dict[str, Any]
) -> None:
    client.force_login(owner)
    response = client.post(f"{URL}preview/", data | {"name": name})
    assert response.status_code == 200
    assert "<script>" not in response.content.decode()


def test_without_a_team_the_page_says_whom_to_ask(client: Client, viewer: User, host: Host) -> None:
    client.force_login(viewer)
    assert "team admin" in client.get(URL).content.decode()
