"""The dashboard's checklist and lists; what the palette finds; what refused and broken pages look like."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone
from pytest_django.fixtures import DjangoAssertNumQueries

from machines.models import Container, Host
from tasks.models import TerminalSession
from teams.models import Team
from tests.factories import BaseImageFactory, ContainerFactory, HostFactory, JobFactory

pytestmark = pytest.mark.django_db


def done(client: Client) -> list[bool]:
    return [step.done for step in client.get("/").context["first_steps"]]


def test_the_checklist_ticks_itself_off(client: Client, operator: User, team: Team) -> None:
    client.force_login(operator)
    assert done(client) == [False] * 4
    host = HostFactory()
    assert done(client) == [True, False, False, False]
    BaseImageFactory(host=host)
    assert done(client) == [True, True, False, False]
    container = ContainerFactory(host=host, team=team, owner=operator)
    assert done(client) == [True, True, True, False]
    TerminalSession.objects.create(
        user=operator, session_key_digest="x", host_id=host.pk, container_id=container.pk, container_name="x"
    )
    assert done(client) == []


def test_only_an_operator_is_sent_to_enrol_a_host(client: Client, owner: User) -> None:
    client.force_login(owner)
    first = client.get("/").context["first_steps"][0]
    assert first.url == "" and "operator" in first.text


def test_mine_wrong_and_running(client: Client, container: Container, owner: User, team: Team, host: Host) -> None:
    broken = ContainerFactory(name="broken1", team=team, host=host, state="failed")
    JobFactory(container=container, by=owner, state="running", title="Busy job", finished_at=None)
    JobFactory(container=container, by=owner, state="failed", title="Sad job", failure={"what": "It broke."})
    HostFactory(name="lost", last_seen=timezone.now() - timedelta(hours=1))
    client.force_login(owner)
    response = client.get("/")
    assert [row.name for row in response.context["mine"]] == ["web1"]
    assert response.context["wrong"]["containers"] == [broken]
    assert [row.name for row in response.context["wrong"]["hosts"]] == ["lost"]
    page = response.content.decode()
    assert "Busy job" in page and "Sad job" in page and "It broke." in page


def test_a_stranger_sees_nothing_of_it(client: Client, container: Container, owner: User, stranger: User) -> None:
    Container.objects.update(state="failed")
    JobFactory(container=container, by=owner, state="running", title="Busy job", finished_at=None)
    client.force_login(stranger)
    page = client.get("/", {"part": "live"}).content.decode()
    assert container.name not in page and "Busy job" not in page


def test_queries_do_not_grow(
    client: Client, owner: User, team: Team, host: Host, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    for _ in range(50):
        JobFactory(container=ContainerFactory(team=team, host=host, owner=owner, state="failed"), by=owner)
    client.force_login(owner)
    with django_assert_max_num_queries(35):
        client.get("/")
    with django_assert_max_num_queries(25):
        client.get("/search/", {"q": "web"})


def found(client: Client, query: str) -> list[tuple[str, str, str]]:
    results = client.get("/search/", {"q": query}).json()["results"]
    return [(row["group"], row["title"], row["method"]) for row in results]


def test_the_palette_finds_and_acts(client: Client, container: Container, owner: User) -> None:
    client.force_login(owner)
    JobFactory(container=container, by=owner, title="Create container web1")
    results = found(client, "web1")
    assert ("Containers", "web1", "get") in results
    assert ("Jobs", "Create container web1", "get") in results
    assert ("Hosts", "srv1", "get") in found(client, "srv")
    assert ("Acts", "Stop web1", "post") in found(client, "stop we")
    assert ("Acts", "Start web1", "post") not in found(client, "start web")  # it runs already
    assert ("Acts", "Open terminal of web1", "get") in found(client, "term web1")
    assert ("Pages", "New container", "get") in found(client, "new cont")
    assert ("Pages", "Hosts", "get") in found(client, "")


def test_the_palette_offers_a_viewer_no_act_and_a_stranger_nothing(
    client: Client, container: Container, viewer: User, stranger: User
) -> None:
    client.force_login(viewer)
    assert not any(method == "post" for _, _, method in found(client, "stop web1"))
    assert not any(title == "New container" for _, title, _ in found(client, "new"))
    client.force_login(stranger)
    assert not any("web1" in title for _, title, _ in [*found(client, "web1"), *found(client, "stop web1")])


def test_anonymous_finds_nothing(client: Client) -> None:
    assert client.get("/search/", {"q": "web"}).status_code == 302
    assert client.get("/").status_code == 302


@pytest.mark.parametrize("query", ["%", "'", "\\", "a" * 5000, "<script>", "start ", "  x  "])
def test_the_palette_takes_any_query(query: str, client: Client, owner: User) -> None:
    client.force_login(owner)
    assert client.get("/search/", {"q": query}).status_code == 200


def test_not_found_has_our_look_for_all(client: Client, owner: User) -> None:
    client.force_login(owner)
    response = client.get(f"/jobs/{uuid4()}/")
    assert response.status_code == 404
    assert "There is nothing here" in response.content.decode()
    assert client.get("/nowhere/").status_code == 404


def test_a_fragment_after_the_session_ended_reloads_the_page(client: Client) -> None:
    response = client.get("/", {"part": "live"}, headers={"HX-Request": "true"})
    assert response.status_code == 204
    assert response.headers["HX-Refresh"] == "true"


def test_a_refusal_in_json_for_those_who_ask_for_it(client: Client, container: Container, viewer: User) -> None:
    client.force_login(viewer)
    response = client.post(f"/containers/{container.pk}/stop/", headers={"Accept": "application/json"})
    assert response.status_code == 403
    assert response.json()["code"] == "permission_denied"


def test_a_csrf_failure_says_what_to_do(owner: User) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(owner)
    response = client.post("/containers/new/", {})
    assert response.status_code == 403
    assert "load the page again" in response.content.decode()


@pytest.mark.parametrize("path", ["/accounts/signup/", "/accounts/email/", "/accounts/password/reset/"])
def test_pages_that_need_mail_are_closed(path: str, client: Client, owner: User) -> None:
    client.force_login(owner)
    assert client.get(path).status_code == 404


def test_login_says_what_is_wrong_and_limits_tries(client: Client, owner: User) -> None:
    from django.core.cache import cache

    cache.clear()
    pages = [
        client.post("/accounts/login/", {"login": owner.username, "password": f"wrong{n}"}).content.decode()
        for n in range(12)
    ]
    assert "not correct" in pages[0]
    assert "Too many" in pages[-1]
    cache.clear()
