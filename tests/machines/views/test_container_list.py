"""The list of containers: who sees what, filters, pages, bulk acts."""

from __future__ import annotations

from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone
from pytest_django.fixtures import DjangoAssertNumQueries

from machines.models import Container, Host
from tasks.models import Job
from teams.models import Team
from tests.factories import ContainerFactory, HostFactory

pytestmark = pytest.mark.django_db


def listed(client: Client, **query: str) -> str:
    response = client.get("/containers/", {"part": "rows"} | query)
    assert response.status_code == 200
    return response.content.decode()


def test_anonymous_is_sent_to_the_login(client: Client) -> None:
    response = client.get("/containers/")
    assert response.status_code == 302
    assert response.headers["Location"].startswith("/accounts/login/")


@pytest.mark.parametrize("who", ["owner", "teammate", "viewer", "operator", "auditor"])
def test_is_seen_by(who: str, client: Client, container: Container, request: pytest.FixtureRequest) -> None:
    client.force_login(request.getfixturevalue(who))
    assert container.name in listed(client)


def test_a_stranger_sees_an_empty_list_that_says_what_to_do(
    client: Client, container: Container, stranger: User
) -> None:
    client.force_login(stranger)
    assert container.name not in listed(client)


def test_a_removed_container_is_not_listed(client: Client, container: Container, owner: User) -> None:
    Container.objects.update(removed_at=timezone.now())
    client.force_login(owner)
    assert container.name not in listed(client)


def test_filters_narrow_the_list(client: Client, container: Container, owner: User, team: Team, host: Host) -> None:
    other_host = HostFactory(name="elsewhere")
    ContainerFactory(name="faraway", team=team, host=other_host, state="stopped")
    client.force_login(owner)
    assert "faraway" not in listed(client, q=container.name)
    assert "faraway" in listed(client, host=str(other_host.pk))
    assert f">{container.name}<" not in listed(client, host=str(other_host.pk))
    assert "faraway" in listed(client, state="stopped")
    assert "faraway" not in listed(client, mine="on")
    assert container.name in listed(client, mine="on")


def test_a_filter_that_names_nothing_is_as_if_not_there(client: Client, container: Container, owner: User) -> None:
    client.force_login(owner)
    assert container.name in listed(client, host="nonsense", state="flying", after="%%%", before="x" * 2000)


def test_a_part_is_a_fragment(client: Client, container: Container, owner: User) -> None:
    client.force_login(owner)
    page = listed(client)
    assert container.name in page
    assert "<html" not in page


def test_fifty_a_page_forth_and_back(client: Client, owner: User, team: Team, host: Host) -> None:
    for n in range(120):
        ContainerFactory(name=f"row{n:03}", team=team, host=host)
    client.force_login(owner)
    first = client.get("/containers/").context["page"]
    second = client.get("/containers/", {"after": first.next}).context["page"]
    third = client.get("/containers/", {"after": second.next}).context["page"]
    assert [len(first), len(second), len(third)] == [50, 50, 20]
    assert (first.previous, third.next) == ("", "")
    back = client.get("/containers/", {"before": third.previous}).context["page"]
    assert [row.name for row in back.rows] == [row.name for row in second.rows]
    front = client.get("/containers/", {"before": back.previous}).context["page"]
    assert [row.name for row in front.rows] == [row.name for row in first.rows]
    assert front.previous == ""


def test_queries_do_not_grow_with_rows(
    client: Client, owner: User, team: Team, host: Host, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    for _ in range(50):
        ContainerFactory(team=team, host=HostFactory(), owner=owner)
    client.force_login(owner)
    with django_assert_max_num_queries(20):
        client.get("/containers/")


def test_hostile_text_is_text(client: Client, owner: User, team: Team, host: Host) -> None:
    hostile = '"><script>alert(1)</script>'
    Team.objects.filter(pk=team.pk).update(name=hostile)
    ContainerFactory(name="victim", team=team, host=host, addresses=[hostile], os=hostile)
    client.force_login(owner)
    page = listed(client, q=hostile) + listed(client)
    assert "<script>alert" not in page
    assert "victim" in page


def bulk(client: Client, act: str, *rows: Container, confirm: str | None = None) -> int:
    data: dict[str, object] = {"act": act, "id": [str(row.pk) for row in rows]}
    if confirm is not None:
        data["confirm"] = confirm
    return client.post("/containers/bulk/", data).status_code


def test_owner_stops_several_at_once(client: Client, container: Container, owner: User, team: Team, host: Host) -> None:
    second = ContainerFactory(team=team, host=host)
    client.force_login(owner)
    assert bulk(client, "stop", container, second) == 302
    assert Job.objects.filter(kind="container.stop").count() == 2


def test_viewer_gets_a_refusal_for_each(client: Client, container: Container, viewer: User) -> None:
    client.force_login(viewer)
    response = client.post("/containers/bulk/", {"act": "stop", "id": [str(container.pk)]}, follow=True)
    assert "You may not operate this container" in response.content.decode()
    assert not Job.objects.exists()


def test_strangers_ids_count_as_unknown(client: Client, container: Container, stranger: User) -> None:
    client.force_login(stranger)
    response = client.post("/containers/bulk/", {"act": "stop", "id": [str(container.pk)]}, follow=True)
    assert "Nothing was changed" in response.content.decode()
    assert not Job.objects.exists()


def test_bulk_removal_lists_what_is_lost_and_wants_it_typed(client: Client, container: Container, owner: User) -> None:
    client.force_login(owner)
    response = client.post("/containers/bulk/", {"act": "remove", "id": [str(container.pk)]})
    assert response.status_code == 200
    assert container.name in response.content.decode()
    assert bulk(client, "remove", container, confirm="remove") == 422
    assert not Job.objects.exists()
    assert bulk(client, "remove", container, confirm="remove 1") == 302
    assert Job.objects.get().kind == "container.remove"


@pytest.mark.parametrize(
    ("act", "ids"), [("fly", None), ("kill", None), ("stop", ["x"]), ("stop", []), ("stop", [str(uuid4())])]
)
def test_bulk_nonsense_changes_nothing(
    client: Client, container: Container, owner: User, act: str, ids: list[str] | None
) -> None:
    client.force_login(owner)
    client.post("/containers/bulk/", {"act": act, "id": [str(container.pk)] if ids is None else ids})
    assert not Job.objects.exists()


def test_no_act_by_get(client: Client, container: Container, owner: User) -> None:
    client.force_login(owner)
    assert client.get("/containers/bulk/", {"act": "stop", "id": str(container.pk)}).status_code == 405


def test_no_act_without_the_csrf_token(container: Container, owner: User) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(owner)
    assert bulk(client, "stop", container) == 403
    assert not Job.objects.exists()
