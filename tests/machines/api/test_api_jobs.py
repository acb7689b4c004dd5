"""Jobs through the API, by everybody."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest

from machines.api.schemas import EventsOut, JobDetail
from tasks.models import Job, JobState
from tests.factories import JobFactory, tell

SEES = ["owner", "teammate", "viewer", "lead", "operator", "auditor"]
BLIND = ["stranger", "loner"]


@pytest.fixture
def failed(world: Any) -> Job:
    failure = {"code": "x", "what": "It broke.", "why": "So it is.", "hint": "Mend it."}
    job: Job = JobFactory(container=world.container, state=JobState.FAILED, failure=failure,
                          params={"kind": "container.start", "name": "web1"})  # fmt: skip
    tell(
        job,
        ("started", {"attempt": 1, "agent_version": "0.1.0", "steps": [["boot", "Boot"]]}),
        ("step", {"key": "boot", "title": "Boot", "state": "running"}),
        ("command", {"step": "boot", "line": "systemctl start systemd-nspawn@web1"}),
        ("output", {"step": "boot", "lines": ["oh", "no"]}),
        ("step", {"key": "boot", "title": "Boot", "state": "failed"}),
        ("finished", {"outcome": "failed", "failure": failure, "result": {}}),
    )
    return job


@pytest.mark.parametrize("name", SEES)
def test_members_and_the_site_see_a_job_with_its_story(world: Any, failed: Job, name: str) -> None:
    answer = world[name].get(f"/jobs/{failed.pk}")
    assert answer.status_code == 200
    found = JobDetail.model_validate(answer.json())
    assert found.failure is not None and found.failure.what == "It broke."
    assert [(step.key, step.state) for step in found.steps] == [("boot", "failed")]
    assert found.commands == ["systemctl start systemd-nspawn@web1"]
    assert str(failed.pk) in [item["id"] for item in world[name].get("/jobs").json()["items"]]


@pytest.mark.parametrize("name", BLIND)
def test_strangers_cannot_tell_it_from_what_is_not_there(
    world: Any, failed: Job, name: str, assert_problem: Any
) -> None:
    nothing = uuid4()
    for method, path in [("GET", ""), ("GET", "/events"), ("POST", "/cancel"), ("POST", "/retry")]:
        real = assert_problem(world[name].call(method, f"/jobs/{failed.pk}{path}"), 404)
        assert real == assert_problem(world[name].call(method, f"/jobs/{nothing}{path}"), 404)
    assert world[name].get("/jobs").json()["items"] == []


def test_jobs_of_hosts_are_seen_by_the_site_alone(world: Any, assert_problem: Any) -> None:
    job = JobFactory(host=world.host, kind="image.build", title="Build debian-bookworm on srv1")
    assert world["operator"].get(f"/jobs/{job.pk}").json()["team"] is None
    assert_problem(world["owner"].get(f"/jobs/{job.pk}"), 404)


def test_events_come_in_order_without_gap_and_by_page(world: Any, failed: Job) -> None:
    first = EventsOut.model_validate(world["owner"].get(f"/jobs/{failed.pk}/events", limit=4).json())
    assert [event.seq for event in first.items] == [1, 2, 3, 4]
    assert (first.more, first.over, first.last) == (True, True, 4)
    rest = EventsOut.model_validate(world["owner"].get(f"/jobs/{failed.pk}/events", after=first.last).json())
    assert [event.type for event in rest.items] == ["step", "finished"]
    assert not rest.more
    assert world["owner"].get(f"/jobs/{failed.pk}/events", after=6).json()["items"] == []


def test_events_beyond_a_gap_wait_for_it_to_close(world: Any, failed: Job) -> None:
    Job.objects.filter(pk=failed.pk).update(last_seq=3)
    answer = world["owner"].get(f"/jobs/{failed.pk}/events").json()
    assert ([event["seq"] for event in answer["items"]], answer["more"]) == ([1, 2, 3], False)


@pytest.mark.parametrize("after", ["-1", "x", str(2**63)])
def test_a_bad_number_is_refused(world: Any, failed: Job, after: str, assert_problem: Any) -> None:
    assert_problem(world["owner"].get(f"/jobs/{failed.pk}/events", after=after), 422, "invalid")


@pytest.mark.parametrize("name", ["owner", "teammate", "lead", "operator"])
def test_developers_and_operators_run_it_again_and_cancel(world: Any, failed: Job, name: str) -> None:
    again = world[name].post(f"/jobs/{failed.pk}/retry")
    assert again.status_code == 202, again.content
    job = again.json()["job"]
    assert (job["retry_of"], job["state"], job["by"]) == (str(failed.pk), "queued", name)
    cancelled = world[name].post(f"/jobs/{job['id']}/cancel")
    assert cancelled.status_code == 202
    assert cancelled.json()["job"]["state"] == "cancelled"


@pytest.mark.parametrize("name", ["viewer", "auditor"])
def test_who_only_looks_may_not(world: Any, failed: Job, name: str, assert_problem: Any) -> None:
    assert_problem(world[name].post(f"/jobs/{failed.pk}/retry"), 403, "permission_denied")
    assert_problem(world[name].post(f"/jobs/{failed.pk}/cancel"), 403, "permission_denied")


def test_what_is_over_is_not_cancelled_and_what_succeeded_not_retried(
    world: Any, failed: Job, assert_problem: Any
) -> None:
    assert_problem(world["owner"].post(f"/jobs/{failed.pk}/cancel"), 409, "job_over")
    assert_problem(world["owner"].post(f"/jobs/{world.job.pk}/retry"), 409, "job_not_failed")


def test_filters_and_pages(world: Any, failed: Job, assert_problem: Any) -> None:
    JobFactory(container=world.foreign, kind="container.stop")
    operator = world["operator"]

    def ids(**query: Any) -> set[str]:
        return {item["id"] for item in operator.get("/jobs", **query).json()["items"]}

    assert len(ids()) == 3
    assert ids(state="failed") == {str(failed.pk)}
    assert ids(container=str(world.container.pk)) == {str(failed.pk), str(world.job.pk)}
    assert len(ids(kind="container.stop")) == len(ids(team="data")) == 1
    assert len(ids(host="srv1")) == 3
    assert_problem(operator.get("/jobs", state="odd"), 422, "invalid")
    assert_problem(operator.get("/jobs", host="srv7"), 422, "unknown_host")
    first = operator.get("/jobs", limit=2).json()
    second = operator.get("/jobs", limit=2, cursor=first["next"]).json()
    assert len({item["id"] for item in first["items"] + second["items"]}) == 3 and second["next"] is None
