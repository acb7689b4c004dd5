"""The page of one container: tabs, acts, who may what."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone
from pytest_django.fixtures import DjangoAssertNumQueries

from audit.models import AuditEvent
from contract.orders import SECRET_FIELDS
from machines.models import Container, ContainerSample
from tasks.models import Job
from tests.factories import JobFactory, tell

pytestmark = pytest.mark.django_db
TABS = ["", "terminal/", "journal/", "settings/", "history/"]
ACTS = ["stop", "restart", "kill", "enable"]


def url(container: Container, rest: str = "") -> str:
    return f"/containers/{container.pk}/{rest}"


@pytest.mark.parametrize("tab", TABS)
@pytest.mark.parametrize("who", ["owner", "teammate", "viewer", "operator", "auditor"])
def test_every_tab_is_shown_to(
    who: str, tab: str, client: Client, container: Container, request: pytest.FixtureRequest
) -> None:
    client.force_login(request.getfixturevalue(who))
    response = client.get(url(container, tab))
    assert response.status_code == 200
    assert container.name in response.content.decode()


@pytest.mark.parametrize("tab", [*TABS, "metrics.json"])
def test_a_stranger_meets_a_404_as_for_what_does_not_exist(
    tab: str, client: Client, container: Container, stranger: User
) -> None:
    client.force_login(stranger)
    assert client.get(url(container, tab)).status_code == 404
    assert client.get(f"/containers/{uuid4()}/{tab}").status_code == 404


@pytest.mark.parametrize("tab", TABS)
def test_anonymous_is_sent_to_the_login(tab: str, client: Client, container: Container) -> None:
    assert client.get(url(container, tab)).status_code == 302


@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize("who", ["owner", "teammate", "team_admin", "operator"])
def test_act_is_done_for(
    who: str, act: str, client: Client, container: Container, request: pytest.FixtureRequest
) -> None:
    user = request.getfixturevalue(who)
    client.force_login(user)
    response = client.post(url(container, f"{act}/"))
    assert response.status_code == 302
    job = Job.objects.get()
    assert (job.kind, job.by) == (f"container.{act}", user)
    assert AuditEvent.objects.filter(action=f"container.{act}", object_id=str(container.pk)).exists()


@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize("who", ["viewer", "auditor"])
def test_act_is_refused_to(
    who: str, act: str, client: Client, container: Container, request: pytest.FixtureRequest
) -> None:
    client.force_login(request.getfixturevalue(who))
    response = client.post(url(container, f"{act}/"))
    assert response.status_code == 403
    assert "You may not operate this container." in response.content.decode()
    assert not Job.objects.exists()


@pytest.mark.parametrize("act", [*ACTS, "remove", "password"])
def test_a_stranger_cannot_act(act: str, client: Client, container: Container, stranger: User) -> None:
    client.force_login(stranger)
    data = {"confirm": container.name, "root_password": "long enough"}
    assert client.post(url(container, f"{act}/"), data).status_code == 404
    assert not Job.objects.exists()


@pytest.mark.parametrize("act", [*ACTS, "remove", "password"])
def test_no_act_by_get_and_none_without_the_csrf_token(act: str, container: Container, owner: User) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(owner)
    assert client.get(url(container, f"{act}/")).status_code == 405
    assert client.post(url(container, f"{act}/"), {"confirm": container.name}).status_code == 403
    assert not Job.objects.exists()


def test_an_unknown_act_is_a_404(client: Client, container: Container, owner: User) -> None:
    client.force_login(owner)
    assert client.post(url(container, "explode/")).status_code == 404


def test_an_act_by_htmx_answers_with_the_header_alone(client: Client, container: Container, owner: User) -> None:
    client.force_login(owner)
    response = client.post(url(container, "stop/"), headers={"HX-Request": "true"})
    assert response.status_code == 200
    assert "<html" not in response.content.decode()
    assert "Show job" in response.headers["HX-Trigger"]


def test_a_refused_act_by_htmx_says_so_in_three_parts(client: Client, container: Container, viewer: User) -> None:
    client.force_login(viewer)
    response = client.post(url(container, "stop/"), headers={"HX-Request": "true"})
    assert response.status_code == 403
    assert response.json()["what"] == "You may not operate this container."
    assert response.json()["hint"]


def test_the_header_offers_what_the_state_wants(client: Client, container: Container, owner: User) -> None:
    client.force_login(owner)
    running = client.get(url(container)).context["acts"]
    assert "stop" in running and "start" not in running and "enable" in running
    Container.objects.update(state="stopped", autostart=True)
    stopped = client.get(url(container)).context["acts"]
    assert "start" in stopped and "stop" not in stopped and "disable" in stopped


def test_a_viewer_is_offered_nothing(client: Client, container: Container, viewer: User) -> None:
    client.force_login(viewer)
    context = client.get(url(container)).context
    assert context["acts"] == {}
    assert not context["can_terminal"]


@pytest.mark.parametrize("typed", ["", "x", "WEB1"])
def test_removal_wants_the_name_typed(typed: str, client: Client, container: Container, owner: User) -> None:
    client.force_login(owner)
    response = client.post(url(container, "remove/"), {"confirm": typed})
    assert response.status_code == 422
    assert f"Type {container.name} to confirm" in response.content.decode()
    assert not Job.objects.exists()


@pytest.mark.parametrize("who", ["owner", "team_admin", "operator"])
def test_it_is_removed_by(who: str, client: Client, container: Container, request: pytest.FixtureRequest) -> None:
    client.force_login(request.getfixturevalue(who))
    assert client.post(url(container, "remove/"), {"confirm": container.name}).status_code == 302
    assert Job.objects.get().kind == "container.remove"


@pytest.mark.parametrize("who", ["teammate", "viewer", "auditor"])
def test_removal_is_refused_to(who: str, client: Client, container: Container, request: pytest.FixtureRequest) -> None:
    client.force_login(request.getfixturevalue(who))
    assert client.post(url(container, "remove/"), {"confirm": container.name}).status_code == 403
    assert not Job.objects.exists()


def test_a_password_is_set_and_kept_nowhere(client: Client, container: Container, owner: User) -> None:
    client.force_login(owner)
    secret = "much-too-secret-77"
    response = client.post(url(container, "password/"), {"root_password": secret}, follow=True)
    assert response.status_code == 200
    job = Job.objects.get()
    stored = f"{job.params}{job.result}{list(AuditEvent.objects.values_list('detail', flat=True))}"
    assert secret not in stored and "$6$" not in stored
    assert not SECRET_FIELDS & job.params.keys()
    page = client.get(f"/jobs/{job.pk}/").content.decode()
    assert secret not in page and "$6$" not in page


@pytest.mark.parametrize(
    ("password", "word"),
    [("", "Write the new password"), ("short", "5"), ("tab\there and more", "character"), ("x" * 129, "129")],
)
def test_a_bad_password_is_told_at_the_field(
    password: str, word: str, client: Client, container: Container, owner: User
) -> None:
    client.force_login(owner)
    response = client.post(url(container, "password/"), {"root_password": password})
    assert response.status_code == 422
    assert word in response.content.decode()
    assert not Job.objects.exists()


@pytest.mark.parametrize("who", ["viewer", "auditor"])
def test_password_is_refused_to(who: str, client: Client, container: Container, request: pytest.FixtureRequest) -> None:
    client.force_login(request.getfixturevalue(who))
    assert client.post(url(container, "password/"), {"root_password": "long enough"}).status_code == 403


def test_the_steps_of_its_job_are_shown(client: Client, container: Container, owner: User) -> None:
    job = JobFactory(container=container, by=owner, state="running", title="Create container x", finished_at=None)
    tell(
        job,
        ("started", {"attempt": 1, "agent_version": "1", "steps": [["image", "Base image"], ["clone", "Clone it"]]}),
        ("step", {"key": "image", "title": "Base image", "state": "done"}),
        ("step", {"key": "clone", "title": "Clone it", "state": "running"}),
    )
    client.force_login(owner)
    page = client.get(url(container), {"part": "overview"}).content.decode()
    assert "Clone it" in page and "Base image" in page
    assert f"/jobs/{job.pk}/" in page


def test_hostile_output_and_names_are_text(client: Client, container: Container, owner: User) -> None:
    hostile = "</script><script>alert(1)</script>\x1b[31m"
    job = JobFactory(container=container, by=owner, state="running", title=hostile, finished_at=None)
    tell(
        job,
        ("started", {"attempt": 1, "agent_version": hostile, "steps": [["one", hostile]]}),
        ("step", {"key": "one", "title": hostile, "state": "running"}),
        ("command", {"step": "one", "line": hostile}),
        ("output", {"step": "one", "lines": [hostile] * 3}),
        ("progress", {"step": "one", "fraction": 0.5, "text": hostile}),
    )
    Container.objects.update(addresses=[hostile], os=hostile)
    client.force_login(owner)
    for tab in TABS:
        assert "<script>alert" not in client.get(url(container, tab)).content.decode()


def test_history_shows_jobs_to_all_and_the_trail_to_those_who_may(
    client: Client, container: Container, owner: User, viewer: User, auditor: User
) -> None:
    client.force_login(owner)
    client.post(url(container, "stop/"))
    client.force_login(viewer)
    response = client.get(url(container, "history/"))
    assert "Stop" in response.content.decode()
    assert response.context["trail"] is None
    client.force_login(auditor)
    assert [row.action for row in client.get(url(container, "history/")).context["trail"]] == ["container.stop"]


def test_a_removed_container_keeps_its_page_without_acts(client: Client, container: Container, owner: User) -> None:
    Container.objects.update(removed_at=timezone.now())
    client.force_login(owner)
    response = client.get(url(container, "history/"))
    assert response.status_code == 200
    assert response.context["acts"] == {}
    assert client.post(url(container, "start/")).status_code == 409


def test_queries_do_not_grow_with_history(
    client: Client, container: Container, owner: User, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    for _ in range(50):
        JobFactory(container=container, by=owner)
    client.force_login(owner)
    for tab in TABS:
        with django_assert_max_num_queries(25):
            client.get(url(container, tab))


def test_metrics_are_rates_with_gaps(client: Client, container: Container, owner: User) -> None:
    now = timezone.now()
    for age, cpu in ((60, 1_000_000), (55, 6_000_000), (10, 7_000_000), (5, 9_500_000)):
        data = {"cpu_usec": cpu, "memory_bytes": 64 << 20, "memory_limit_bytes": 128 << 20, "tasks": 9}
        ContainerSample.objects.create(container=container, at=now - timedelta(seconds=age), data=data)
    client.force_login(owner)
    series = client.get(url(container, "metrics.json"), {"minutes": "60"}).json()
    assert series["cpu"] == [None, 1.0, None, None, 0.5]
    assert series["memory"][2] is None
    assert len(series["at"]) == 5
    assert series["limits"]["memory"] == 128 << 20
    assert series["rx"] == [None] * 5


@pytest.mark.parametrize("minutes", ["-5", "0", "1e9", "999999999", "x", ""])
def test_metrics_take_any_number_of_minutes(minutes: str, client: Client, container: Container, owner: User) -> None:
    client.force_login(owner)
    assert client.get(url(container, "metrics.json"), {"minutes": minutes}).status_code == 200
