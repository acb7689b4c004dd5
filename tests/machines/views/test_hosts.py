"""Hosts: the list, one host, adding, revoking, adopting, base images."""

from __future__ import annotations

from datetime import timedelta
from unittest.mock import patch

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone
from pytest_django.fixtures import DjangoAssertNumQueries

from machines.models import Container, EnrolmentToken, Host, HostSample, Release
from tasks.models import Job
from teams.models import Team
from tests.factories import ContainerFactory, DiscoveredFactory, HostFactory, UserFactory, facts

pytestmark = pytest.mark.django_db
EVERYBODY = ["owner", "viewer", "stranger", "operator", "auditor"]
NOT_OPERATORS = ["owner", "team_admin", "viewer", "stranger", "auditor"]


def url(host: Host, rest: str = "") -> str:
    return f"/hosts/{host.pk}/{rest}"


@pytest.mark.parametrize("who", EVERYBODY)
def test_hosts_are_seen_by_name_by(who: str, client: Client, host: Host, request: pytest.FixtureRequest) -> None:
    client.force_login(request.getfixturevalue(who))
    assert host.name in client.get("/hosts/").content.decode()
    assert client.get(url(host)).status_code == 200


def test_who_is_in_no_team_sees_no_host(client: Client, host: Host) -> None:
    client.force_login(UserFactory())
    assert host.name not in client.get("/hosts/", {"part": "rows"}).content.decode()
    assert client.get(url(host)).status_code == 404
    assert client.get(url(host, "metrics.json")).status_code == 404


def test_anonymous_is_sent_to_the_login(client: Client, host: Host) -> None:
    for address in ("/hosts/", "/hosts/add/", url(host), url(host, "metrics.json")):
        assert client.get(address).status_code == 302


def test_a_strangers_page_names_no_container_and_no_job(client: Client, container: Container, stranger: User) -> None:
    client.force_login(stranger)
    context = client.get(url(container.host)).context
    assert context["containers"] == [] and context["container_count"] == 0 and context["jobs"] == []


def test_states_of_hosts(client: Client, operator: User) -> None:
    HostFactory(name="off", last_seen=timezone.now() - timedelta(minutes=5))
    HostFactory(name="gone", revoked_at=timezone.now())
    failing = {"key": "x", "title": "X", "result": "fail", "found": "no", "wanted": "yes", "mend": "do --it"}
    ill = HostFactory(name="ill", facts=facts(checks=[failing]))
    client.force_login(operator)
    page = client.get("/hosts/", {"part": "rows"}).content.decode()
    assert "Offline" in page and "Revoked" in page and "1 check fails" in page
    assert "do --it" in client.get(url(ill)).content.decode()


def test_a_host_without_facts_has_a_page(client: Client, operator: User) -> None:
    bare = HostFactory(facts={}, metrics={}, last_seen=None)
    client.force_login(operator)
    assert client.get(url(bare)).status_code == 200
    assert client.get("/hosts/").status_code == 200


def test_hostile_facts_are_text(client: Client, operator: User, host: Host) -> None:
    hostile = "</code><script>alert(1)</script>"
    check = {"key": "x", "title": hostile, "result": "fail", "found": hostile, "wanted": hostile, "mend": hostile}
    Host.objects.update(facts=facts(os=hostile, kernel=hostile, boot_time=hostile, checks=[check]))
    DiscoveredFactory(host=host, name=hostile[:60])
    client.force_login(operator)
    page = client.get(url(host)).content.decode() + client.get("/hosts/").content.decode()
    assert "<script>alert" not in page


def test_queries_do_not_grow_with_hosts_and_containers(
    client: Client, owner: User, team: Team, host: Host, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    for _ in range(50):
        ContainerFactory(host=host, team=team, owner=owner)
        HostFactory()
    client.force_login(owner)
    with django_assert_max_num_queries(15):
        client.get("/hosts/")
    with django_assert_max_num_queries(30):
        client.get(url(host))


def test_metrics(client: Client, owner: User, host: Host) -> None:
    data = {"cpu_usec": 1, "memory_used_bytes": 2, "pool_used_bytes": 3, "pool_free_bytes": 4, "load1": 0.5}
    HostSample.objects.create(host=host, at=timezone.now(), data=data)
    client.force_login(owner)
    series = client.get(url(host, "metrics.json")).json()
    assert (series["memory"], series["load"], series["cpu"]) == ([2], [0.5], [None])
    assert series["limits"]["cpu"] == 8


# --- adding ---


def test_the_line_is_shown_once_and_the_page_waits(client: Client, operator: User) -> None:
    client.force_login(operator)
    with patch("machines.services.enrolment.install_line", lambda plain: f"curl … --token {plain}"):
        page = client.post("/hosts/add/", {"name": "New1"}).content.decode()
    token = EnrolmentToken.objects.get()
    assert token.host_name == "new1"
    assert "--token" in page and f"/hosts/add/{token.pk}/waiting/" in page
    assert "--token" not in client.get("/hosts/add/").content.decode()
    assert "Waiting" in client.get(f"/hosts/add/{token.pk}/waiting/").content.decode()


def test_the_page_goes_on_when_the_host_is_there(client: Client, operator: User, host: Host) -> None:
    token = EnrolmentToken.objects.create(digest="x", host_name="srv1", expires_at=timezone.now(), host=host)
    client.force_login(operator)
    assert client.get(f"/hosts/add/{token.pk}/waiting/").headers["HX-Redirect"] == url(host)


def test_an_expired_line_says_so(client: Client, operator: User) -> None:
    token = EnrolmentToken.objects.create(digest="x", host_name="srv1", expires_at=timezone.now() - timedelta(hours=1))
    client.force_login(operator)
    assert "expired" in client.get(f"/hosts/add/{token.pk}/waiting/").content.decode()


def test_without_a_bundle_the_reason_is_told(client: Client, operator: User) -> None:
    client.force_login(operator)
    with patch("machines.services.enrolment.bundle_path") as path:
        from teams.errors import Unavailable

        path.side_effect = Unavailable("no_bundle", "This portal has no agent to hand out.")
        response = client.post("/hosts/add/", {"name": "new1"})
    assert response.status_code == 422
    assert "no agent to hand out" in response.content.decode()


@pytest.mark.parametrize("name", ["", "-x", "a b", "x" * 65, "ä", "srv1", "SRV1", "a/../b"])
def test_a_bad_or_taken_name_is_told_at_the_field(name: str, client: Client, operator: User, host: Host) -> None:
    client.force_login(operator)
    response = client.post("/hosts/add/", {"name": name})
    assert response.status_code == 422
    assert response.context["form"].errors["name"]
    assert not EnrolmentToken.objects.exists()


@pytest.mark.parametrize("who", NOT_OPERATORS)
def test_only_operators_manage(
    who: str, client: Client, host: Host, release: Release, team: Team, request: pytest.FixtureRequest
) -> None:
    found = DiscoveredFactory(host=host)
    client.force_login(request.getfixturevalue(who))
    assert client.get("/hosts/add/").status_code == 403
    assert client.post("/hosts/add/", {"name": "new1"}).status_code == 403
    assert client.post(url(host, "revoke/"), {"confirm": host.name}).status_code == 403
    assert client.post(url(host, "images/"), {"release": release.slug}).status_code == 403
    assert client.post(url(host, "adopt/"), {"machine": found.pk, "team": team.pk}).status_code == 403
    page = client.get(url(host)).content.decode()
    assert found.name not in page and "Revoke host" not in page
    host.refresh_from_db()
    assert host.revoked_at is None
    assert not Job.objects.exists() and not EnrolmentToken.objects.exists()


@pytest.mark.parametrize("act", ["revoke", "images", "adopt"])
def test_no_act_by_get_and_none_without_the_csrf_token(act: str, host: Host, operator: User) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(operator)
    assert client.get(url(host, f"{act}/")).status_code == 405
    assert client.post(url(host, f"{act}/"), {"confirm": host.name}).status_code == 403


def test_revoking_wants_the_name_typed(client: Client, operator: User, host: Host) -> None:
    client.force_login(operator)
    response = client.post(url(host, "revoke/"), {"confirm": "srv"})
    assert response.status_code == 422
    assert "Type srv1 to confirm" in response.content.decode()
    with patch("tasks.hostlink.revoke"):
        assert client.post(url(host, "revoke/"), {"confirm": "srv1"}).status_code == 302
    host.refresh_from_db()
    assert host.revoked_at is not None


def test_a_base_image_is_built(client: Client, operator: User, host: Host, release: Release) -> None:
    client.force_login(operator)
    response = client.post(url(host, "images/"), {"release": release.slug})
    job = Job.objects.get()
    assert response.headers["Location"] == f"/jobs/{job.pk}/"
    assert "Building" in client.get(url(host), {"part": "images"}).content.decode()
    assert client.post(url(host, "images/"), {"release": "nonsense"}).status_code == 404


def test_a_found_container_is_adopted(client: Client, operator: User, host: Host, team: Team) -> None:
    found = DiscoveredFactory(host=host, name="byhand")
    client.force_login(operator)
    client.post(url(host, "adopt/"), {"machine": found.pk, "team": "999"})
    assert not Container.objects.exists()
    assert client.post(url(host, "adopt/"), {"machine": found.pk, "team": team.pk}).status_code == 302
    assert Container.objects.get().name == "byhand"
