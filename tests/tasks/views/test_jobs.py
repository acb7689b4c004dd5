"""The list of jobs and the story of one; cancel, retry, give up."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from unittest.mock import patch
from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone
from pytest_django.fixtures import DjangoAssertNumQueries

from machines.models import Container, Host
from tasks.models import Job
from tests.factories import JobFactory, tell

pytestmark = pytest.mark.django_db
FAILURE = {"code": "mirror", "what": "It did not work.", "why": "The mirror is away.", "hint": "Press Retry."}


@pytest.fixture
def job(container: Container, owner: User) -> Job:
    made: Job = JobFactory(
        container=container, by=owner, title="Start web1", params={"kind": "container.start", "name": "web1"}
    )
    return made


def state(job: Job, state: str, **changes: Any) -> None:
    Job.objects.filter(pk=job.pk).update(state=state, **changes)


def listed(client: Client, **query: str) -> str:
    return client.get("/jobs/", {"part": "rows"} | query).content.decode()


@pytest.mark.parametrize("who", ["owner", "teammate", "viewer", "operator", "auditor"])
def test_is_seen_by(who: str, client: Client, job: Job, request: pytest.FixtureRequest) -> None:
    client.force_login(request.getfixturevalue(who))
    assert "Start web1" in listed(client)
    assert client.get(f"/jobs/{job.pk}/").status_code == 200
    assert "Start web1" in client.get("/jobs/running/").content.decode()


def test_a_stranger_meets_a_404(client: Client, job: Job, stranger: User) -> None:
    client.force_login(stranger)
    assert "Start web1" not in listed(client)
    assert "Start web1" not in client.get("/jobs/running/").content.decode()
    for rest, method in (
        ("", client.get),
        ("cancel/", client.post),
        ("retry/", client.post),
        ("give-up/", client.post),
    ):
        assert method(f"/jobs/{job.pk}/{rest}").status_code == 404
        assert method(f"/jobs/{uuid4()}/{rest}").status_code == 404


def test_anonymous_is_sent_to_the_login(client: Client, job: Job) -> None:
    for address in ("/jobs/", "/jobs/running/", f"/jobs/{job.pk}/"):
        assert client.get(address).status_code == 302


def test_a_job_on_a_host_is_for_operators_and_auditors(
    client: Client, host: Host, owner: User, operator: User, auditor: User
) -> None:
    build = JobFactory(host=host, kind="image.build", title="Build base image x")
    for user, status in ((owner, 404), (operator, 200), (auditor, 200)):
        client.force_login(user)
        assert client.get(f"/jobs/{build.pk}/").status_code == status


def test_filters(client: Client, job: Job, container: Container, owner: User, teammate: User) -> None:
    JobFactory(
        container=container, by=teammate, kind="container.stop", state="running", title="Stop web1", finished_at=None
    )
    client.force_login(owner)
    assert "Stop web1" not in listed(client, state="succeeded")
    assert "Start web1" not in listed(client, state="active")
    assert "Start web1" not in listed(client, kind="container.stop")
    assert "Stop web1" not in listed(client, mine="on")
    assert "Start web1" in listed(client, state="x", kind="y", after="z")


def test_fifty_a_page_and_few_queries(
    client: Client, container: Container, owner: User, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    for _ in range(70):
        JobFactory(container=container, by=owner)
    client.force_login(owner)
    with django_assert_max_num_queries(15):
        first = client.get("/jobs/").context["page"]
    second = client.get("/jobs/", {"after": first.next}).context["page"]
    assert [len(first), len(second)] == [50, 20]
    assert not {row.pk for row in first.rows} & {row.pk for row in second.rows}


def test_a_failed_job_begins_with_the_reason_and_the_lines_that_matter(client: Client, job: Job, owner: User) -> None:
    state(job, "failed", failure=FAILURE)
    tell(
        job,
        ("started", {"attempt": 1, "agent_version": "1", "steps": [["a", "First"], ["b", "Second"]]}),
        ("step", {"key": "a", "title": "First", "state": "done"}),
        ("step", {"key": "b", "title": "Second", "state": "running"}),
        ("command", {"step": "b", "line": "apt-get update"}),
        ("output", {"step": "b", "lines": ["one", "two", "three", "", "four"]}),
        ("step", {"key": "b", "title": "Second", "state": "failed"}),
    )
    client.force_login(owner)
    response = client.get(f"/jobs/{job.pk}/")
    page = response.content.decode()
    assert response.context["matters"] == ["two", "three", "four"]
    assert all(text in page for text in ("It did not work.", "The mirror is away.", "Press Retry.", "apt-get update"))
    assert page.index("It did not work.") < page.index("apt-get update")


def test_hostile_text_is_text(client: Client, job: Job, owner: User) -> None:
    hostile = "</span><script>alert(1)</script>\x1b]0;x\x07"
    state(job, "failed", failure={"code": "x", "what": hostile, "why": hostile, "hint": hostile}, title=hostile)
    tell(
        job,
        ("started", {"attempt": 2, "agent_version": hostile, "steps": [["a", hostile]]}),
        ("step", {"key": "a", "title": hostile, "state": "running"}),
        ("command", {"step": "a", "line": hostile}),
        ("output", {"step": "a", "lines": [hostile]}),
    )
    client.force_login(owner)
    for address in (f"/jobs/{job.pk}/", "/jobs/", "/jobs/running/", "/"):
        assert "<script>alert" not in client.get(address).content.decode()


def test_a_queued_job_is_cancelled_at_once(client: Client, job: Job, owner: User) -> None:
    state(job, "queued", started_at=None, finished_at=None)
    client.force_login(owner)
    assert "it ends at once" in client.get(f"/jobs/{job.pk}/").content.decode()
    page = client.post(f"/jobs/{job.pk}/cancel/", follow=True).content.decode()
    assert "had not begun" in page
    job.refresh_from_db()
    assert job.state == "cancelled"


def test_a_running_job_shows_that_it_is_being_cancelled(client: Client, job: Job, owner: User) -> None:
    state(job, "running", finished_at=None)
    client.force_login(owner)
    page = client.post(f"/jobs/{job.pk}/cancel/", follow=True).content.decode()
    assert "Cancelling" in page and "owner cancelled it" in page


@pytest.mark.parametrize("who", ["viewer", "auditor"])
@pytest.mark.parametrize("act", ["cancel", "retry", "give-up"])
def test_who_may_only_look_cannot_act(
    who: str, act: str, client: Client, job: Job, request: pytest.FixtureRequest
) -> None:
    state(job, "failed" if act == "retry" else "running")
    client.force_login(request.getfixturevalue(who))
    context = client.get(f"/jobs/{job.pk}/").context
    assert not (context["can_cancel"] or context["can_retry"] or context["can_give_up"])
    assert client.post(f"/jobs/{job.pk}/{act}/").status_code == 403
    assert Job.objects.count() == 1


@pytest.mark.parametrize("act", ["cancel", "retry", "give-up"])
def test_no_act_by_get_and_none_without_the_csrf_token(act: str, job: Job, owner: User) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(owner)
    assert client.get(f"/jobs/{job.pk}/{act}/").status_code == 405
    assert client.post(f"/jobs/{job.pk}/{act}/").status_code == 403


def test_a_failed_job_is_retried_as_a_new_one(client: Client, job: Job, owner: User) -> None:
    state(job, "failed", failure=FAILURE)
    client.force_login(owner)
    response = client.post(f"/jobs/{job.pk}/retry/")
    again = Job.objects.exclude(pk=job.pk).get()
    assert response.headers["Location"] == f"/jobs/{again.pk}/"
    assert "A retry of" in client.get(f"/jobs/{again.pk}/").content.decode()
    assert f"/jobs/{again.pk}/" in client.get(f"/jobs/{job.pk}/").content.decode()


def test_what_is_over_cannot_be_cancelled_nor_what_succeeded_be_retried(client: Client, job: Job, owner: User) -> None:
    client.force_login(owner)
    for act in ("cancel", "retry"):
        response = client.post(f"/jobs/{job.pk}/{act}/")
        assert response.status_code == 409
        assert "<h1" in response.content.decode()


def test_an_operator_gives_up_a_job_whose_host_is_silent(client: Client, job: Job, host: Host, operator: User) -> None:
    state(job, "running", finished_at=None)
    Host.objects.update(last_seen=timezone.now() - timedelta(hours=3))
    client.force_login(operator)
    assert "offline" in client.get(f"/jobs/{job.pk}/").content.decode()
    with patch("tasks.services.tell_cancelled"):
        client.post(f"/jobs/{job.pk}/give-up/")
    job.refresh_from_db()
    assert (job.state, job.failure["code"]) == ("failed", "declared_lost")
