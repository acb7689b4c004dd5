"""The page of the audit trail: who reads what of it."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from django.test import Client
from pytest_django.fixtures import DjangoAssertNumQueries

from audit.models import AuditEvent
from audit.services import record
from teams.models import Team
from tests.factories import TeamFactory

pytestmark = pytest.mark.django_db


@pytest.fixture
def trail(team: Team, owner: User) -> None:
    record(by=owner, action="container.start", team_id=team.pk, object_type="container", object_name="web1")
    record(by=owner, action="container.stop", team_id=TeamFactory().pk, object_type="container", object_name="other1")
    record(by=None, action="host.enrol", object_type="host", object_name="srv1", actor_name="host:srv1")


def names(client: Client, **query: str) -> list[str]:
    page = client.get("/audit/", query).context["page"]
    return [row.object_name for row in page.rows if row.object_type != "user"]


def test_an_auditor_reads_everything(client: Client, trail: None, auditor: User) -> None:
    client.force_login(auditor)
    assert names(client) == ["srv1", "other1", "web1"]


def test_a_team_admin_reads_what_concerns_the_team(client: Client, trail: None, team_admin: User) -> None:
    client.force_login(team_admin)
    assert names(client) == ["web1"]


@pytest.mark.parametrize("who", ["owner", "teammate", "viewer", "stranger"])
def test_it_is_not_there_for(who: str, client: Client, trail: None, request: pytest.FixtureRequest) -> None:
    client.force_login(request.getfixturevalue(who))
    assert client.get("/audit/").status_code == 404
    assert "/audit/" not in client.get("/").content.decode()


def test_anonymous_is_sent_to_the_login(client: Client) -> None:
    assert client.get("/audit/").status_code == 302


def test_filters(client: Client, trail: None, auditor: User) -> None:
    client.force_login(auditor)
    assert names(client, who="OWNER") == ["other1", "web1"]
    assert names(client, action="container.") == ["other1", "web1"]
    assert names(client, what="web") == ["web1"]
    today = AuditEvent.objects.first().at.date().isoformat()  # type: ignore[union-attr]
    assert len(names(client, since=today, until=today)) == 3
    assert names(client, until="2001-01-01") == []
    response = client.get("/audit/", {"since": "yesterday"})
    assert response.status_code == 200
    assert "Write a date as" in response.content.decode()


def test_pages_and_queries(
    client: Client, auditor: User, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    for n in range(120):
        record(by=auditor, action="x.y", object_name=f"row{n}", detail={"n": n})
    client.force_login(auditor)
    with django_assert_max_num_queries(15):
        first = client.get("/audit/", {"action": "x.y"}).context["page"]
    second = client.get("/audit/", {"action": "x.y", "after": first.next}).context["page"]
    third = client.get("/audit/", {"action": "x.y", "after": second.next}).context["page"]
    assert [len(first), len(second), len(third)] == [50, 50, 20]
    back = client.get("/audit/", {"action": "x.y", "before": third.previous}).context["page"]
    assert [row.seq for row in back.rows] == [row.seq for row in second.rows]


def test_hostile_names_are_text(client: Client, auditor: User) -> None:
    hostile = '"><script>alert(1)</script>'
    record(by=None, actor_name=hostile, action="login.failed", object_name=hostile, detail={hostile: [hostile]})
    client.force_login(auditor)
    assert "<script>alert" not in client.get("/audit/", {"who": hostile}).content.decode()
    assert "<script>alert" not in client.get("/audit/").content.decode()
