"""What a page is told of a job."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from contract.events import Command, Progress
from machines.models import Container, Host
from tasks.models import Job
from tasks.selectors import job_output, job_story, waiting_reason
from tests.tasks.helpers import ask, event, finished, output, started, step, story, tell

pytestmark = pytest.mark.django_db


@pytest.fixture
def job(owner: User, container: Container, sent: list[Any]) -> Job:
    return ask(owner, container)


def fresh(job: Job) -> Job:
    return Job.objects.get(pk=job.pk)


def test_a_story_has_steps_with_times_commands_and_output(job: Job, host: Host) -> None:
    command = Command(step="start", line="systemctl start systemd-nspawn@web1.service")
    begin = timezone.now()
    bodies = (started(), step(), command, output("a", "b"), Progress(step="start", fraction=0.5, text="booting"))
    tell(host, *[event(job, n, body, begin) for n, body in enumerate(bodies, 1)])
    tell(host, event(job, 6, step("done"), begin + timedelta(seconds=2)), event(job, 7, finished()))
    told = job_story(fresh(job))
    (only,) = told.steps
    assert (only.title, only.state, only.seconds, only.percent) == ("Boot it", "done", 2.0, 50)
    assert list(only.lines) == ["a", "b"] and told.commands == [command.line]
    assert told.last_seq == 7 and told.agent_version == "0.1.0" and told.waiting == ""


def test_steps_to_come_are_told_before_they_begin(job: Job, host: Host) -> None:
    tell(host, event(job, 1, started()))
    assert [(s.title, s.state) for s in job_story(fresh(job)).steps] == [("Boot it", "pending")]


@pytest.mark.parametrize(("outcome", "state"), [("failed", "failed"), ("cancelled", "stopped")])
def test_a_step_in_which_the_job_ended_has_ended_with_it(outcome: str, state: str, job: Job, host: Host) -> None:
    tell(host, *story(job, started(), step(), finished(outcome)))
    (only,) = job_story(fresh(job)).steps
    assert only.state == state and only.ended_at is not None


def test_only_the_tail_of_long_output_is_in_a_story(job: Job, host: Host) -> None:
    tell(host, *story(job, started(), *[output(*[f"{n}.{m}" for m in range(100)]) for n in range(10)]))
    (only,) = job_story(fresh(job)).steps
    assert only.lines_total == 1000 and len(only.lines) == 500 and only.lines[-1] == "9.99"


def test_output_after_a_point_has_no_gap_and_no_repeat(job: Job, host: Host, asked: list[Any]) -> None:
    events = story(job, started(), output("a"), output("b"), output("c"), output("d"))
    tell(host, events[0], events[1], events[3])
    assert [row["seq"] for row in job_output(fresh(job), 0)] == [1, 2]
    tell(host, events[2], events[4])
    assert [row["seq"] for row in job_output(fresh(job), 2)] == [3, 4, 5]
    assert job_output(fresh(job), 5) == [] and len(job_output(fresh(job), 0, limit=2)) == 2


def test_why_a_job_waits(job: Job, owner: User, container: Container, host: Host) -> None:
    assert waiting_reason(job) == ""
    assert waiting_reason(ask(owner, container)) == "Waits for “Start web1”."
    Host.objects.update(last_seen=timezone.now() - timedelta(minutes=1))
    assert waiting_reason(job) == "Host srv1 is offline; the job runs when it returns."
    tell(host, event(job, 1, started()))
    assert "offline; when it returns it says what became" in waiting_reason(fresh(job))
    tell(host, event(job, 2, finished()))
    assert waiting_reason(fresh(job)) == ""
