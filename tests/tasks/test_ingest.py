"""Events into the database: once each, without gap, whatever order they come in; and what cannot be is refused."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from audit.models import AuditEvent
from contract.events import Failure, Finished, Outcome, Refused
from contract.live import ResendEvents
from machines.models import Container, Host
from tasks.models import Job, JobState
from tasks.relay import ingest as ingest_module
from tests.factories import HostFactory
from tests.tasks.helpers import ask, event, finished, output, started, step, story, tell

pytestmark = pytest.mark.django_db
S = JobState


@pytest.fixture
def job(owner: User, container: Container, sent: list[Any]) -> Job:
    return ask(owner, container)


@pytest.fixture(autouse=True)
def _no_throttle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ingest_module, "client", lambda: type("R", (), {"set": lambda *a, **k: True})())


WHOLE = (started(), step(), output("one"), output("two"), step("done"), finished(state="running"))


def test_a_story_moves_the_job_to_its_end(job: Job, host: Host) -> None:
    tell(host, *story(job, *WHOLE))
    job.refresh_from_db()
    assert (job.state, job.last_seq, job.attempt) == (S.SUCCEEDED, 6, 1)
    assert job.result == {"state": "running"} and not job.holds_container
    assert list(job.events.values_list("seq", "type")) == [
        (1, "started"), (2, "step"), (3, "output"), (4, "output"), (5, "step"), (6, "finished"),
    ]  # fmt: skip


def test_duplicates_are_stored_once(job: Job, host: Host) -> None:
    events = story(job, *WHOLE)
    tell(host, *events[:4], *events[2:4])
    tell(host, *events)
    tell(host, *events)
    job.refresh_from_db()
    assert job.events.count() == 6 and job.state == S.SUCCEEDED


@pytest.mark.parametrize("seed", range(8))
def test_any_order_and_any_cut_into_batches_gives_the_same(seed: int, job: Job, host: Host, asked: list[Any]) -> None:
    chance = random.Random(seed)
    events = story(job, *WHOLE) + story(job, *WHOLE)[:3]
    chance.shuffle(events)
    while events:
        count = chance.randint(1, 4)
        tell(host, *events[:count])
        del events[:count]
    job.refresh_from_db()
    assert (job.state, job.last_seq, job.events.count()) == (S.SUCCEEDED, 6, 6)


def test_what_lies_beyond_a_gap_waits_and_the_host_is_asked(
    job: Job, host: Host, asked: list[Any], committed: Any
) -> None:
    events = story(job, *WHOLE)
    with committed():
        tell(host, events[0], *events[3:])
    job.refresh_from_db()
    assert (job.state, job.last_seq) == (S.RUNNING, 1)
    assert asked == [(host.pk, ResendEvents(job=job.pk, after=1))]
    tell(host, *events[1:3])
    job.refresh_from_db()
    assert (job.state, job.last_seq) == (S.SUCCEEDED, 6)


def test_one_host_cannot_tell_of_anothers_job(job: Job, container: Container) -> None:
    evil = HostFactory(name="evil")
    tell(evil, *story(job, *WHOLE))
    job.refresh_from_db()
    assert job.state == S.QUEUED and not job.events.exists()
    row = AuditEvent.objects.get(action="event.rejected")
    assert row.actor_name == "host:evil" and row.detail["code"] == "foreign_event"


def test_an_unknown_job_is_refused_and_the_rest_of_the_batch_is_stored(job: Job, host: Host) -> None:
    from uuid import uuid4

    tell(host, event(uuid4(), 1, started()), *story(job, *WHOLE))
    job.refresh_from_db()
    assert job.state == S.SUCCEEDED
    assert AuditEvent.objects.filter(action="event.rejected").count() == 1


def test_a_failure_is_told_in_its_words(job: Job, host: Host) -> None:
    failure = Failure(code="disk_full", what="The disk is full.", why="0 MiB are free.", hint="Make room.")
    tell(host, *story(job, started(), Finished(outcome=Outcome.FAILED, failure=failure)))
    job.refresh_from_db()
    assert job.state == S.FAILED and job.failure == failure.model_dump()


def test_a_failure_without_words_gets_some(job: Job, host: Host) -> None:
    tell(host, *story(job, started(), finished("failed")))
    job.refresh_from_db()
    assert job.failure and job.failure["code"] == "unknown"


def test_a_job_that_was_cancelled_before_it_began(job: Job, host: Host) -> None:
    tell(host, event(job, 1, finished("cancelled")))
    job.refresh_from_db()
    assert job.state == S.CANCELLED and job.started_at is None


def test_a_restarted_agent_counts_attempts(job: Job, host: Host) -> None:
    tell(host, *story(job, started(), step(), started(2), finished()))
    job.refresh_from_db()
    assert job.attempt == 2 and job.state == S.SUCCEEDED


def test_a_refused_order_fails_its_job_and_is_on_the_trail(job: Job, host: Host) -> None:
    tell(host, event(job, 0, Refused(code="expired", why="The order ran out yesterday.")))
    job.refresh_from_db()
    assert job.state == S.FAILED and job.failure and job.failure["why"] == "The order ran out yesterday."
    row = AuditEvent.objects.get(action="order.refused")
    assert (row.actor_name, row.object_id, row.detail["code"]) == ("host:srv1", str(job.pk), "expired")


def test_a_refused_replay_changes_no_job(job: Job, host: Host) -> None:
    tell(host, event(job, 0, Refused(code="replayed", why="Known.")))
    tell(host, event(job, 1, started()))
    tell(host, event(job, 0, Refused(code="bad_signature", why="A second copy was tampered with.")))
    job.refresh_from_db()
    assert job.state == S.RUNNING and AuditEvent.objects.filter(action="order.refused").count() == 2


def test_a_refusal_of_nothing_readable_is_on_the_trail(host: Host, db: None) -> None:
    tell(host, event(None, 0, Refused(code="unreadable", why="Not JSON.")))
    assert AuditEvent.objects.get(action="order.refused").object_type == "host"


def test_output_may_hold_anything(job: Job, host: Host) -> None:
    tell(host, *story(job, started(), output("a\0b", "\x1b[31mred", "\u202e", "💥"), finished()))
    job.refresh_from_db()
    assert job.events.get(seq=2).data["lines"] == ["a\ufffdb", "\x1b[31mred", "\u202e", "💥"]
    assert job.state == S.SUCCEEDED


def test_a_clock_that_is_wrong_gives_possible_times(job: Job, host: Host) -> None:
    future, past = timezone.now() + timedelta(days=400), datetime(1970, 1, 1, tzinfo=UTC)
    tell(host, event(job, 1, started(), at=future), event(job, 2, finished(), at=past))
    job.refresh_from_db()
    assert job.started_at and job.finished_at
    assert job.created_at <= job.started_at <= job.finished_at <= timezone.now()


def test_a_number_that_no_column_holds_is_left_out(job: Job, host: Host, asked: list[Any]) -> None:
    tell(host, event(job, 1, started()), event(job, 2**40, output("x")), event(job, 0, output("y")))
    job.refresh_from_db()
    assert job.last_seq == 1 and job.events.count() == 1


def test_a_result_carries_no_secret(job: Job, host: Host) -> None:
    tell(host, *story(job, started(), finished(root_password_hash="$6$x", state="running")))
    job.refresh_from_db()
    assert job.result == {"state": "running"}


def test_a_thousand_events_cost_few_queries(job: Job, host: Host, django_assert_max_num_queries: Any) -> None:
    tell(host, event(job, 1, started()))
    events = [event(job, n, output(f"line {n}")) for n in range(2, 1002)]
    with django_assert_max_num_queries(12):
        tell(host, *events)
    job.refresh_from_db()
    assert job.last_seq == 1001
