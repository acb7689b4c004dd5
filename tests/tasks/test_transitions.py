"""The transition table, way by way."""

from __future__ import annotations

from itertools import product

import pytest

from contract.events import Failure
from machines.models import Container
from tasks.errors import TransitionRefused
from tasks.models import Job, JobState
from tasks.transitions import ENDED, TABLE, transition
from tests.factories import JobFactory

pytestmark = pytest.mark.django_db
S = JobState
WAYS = {
    (S.QUEUED, S.RUNNING),
    (S.QUEUED, S.FAILED),
    (S.QUEUED, S.CANCELLED),
    (S.RUNNING, S.SUCCEEDED),
    (S.RUNNING, S.FAILED),
    (S.RUNNING, S.CANCELLED),
}


def job_in(state: JobState, container: Container) -> Job:
    return JobFactory(container=container, state=state, holds_container=state not in ENDED, sealed="")


@pytest.mark.parametrize(("old", "new"), sorted(product(S, S)))
def test_a_job_goes_these_ways_and_no_other(old: JobState, new: JobState, container: Container) -> None:
    job = job_in(old, container)
    if (old, new) in WAYS:
        transition(job, new)
        assert Job.objects.get(pk=job.pk).state == new == job.state
    else:
        with pytest.raises(TransitionRefused, match=f"{old} cannot become {new}"):
            transition(job, new)
        assert Job.objects.get(pk=job.pk).state == old


def test_every_state_that_is_not_an_end_has_a_way_out() -> None:
    assert set(TABLE) == set(S)
    assert {state for state, ways in TABLE.items() if not ways} == ENDED


@pytest.mark.parametrize("end", sorted(ENDED))
def test_an_ended_job_holds_nothing_and_has_an_end_time(end: JobState, container: Container) -> None:
    job = transition(job_in(S.RUNNING, container), end)
    job.refresh_from_db()
    assert not job.holds_container and job.finished_at is not None


def test_one_that_moved_meanwhile_is_refused_and_stays(container: Container) -> None:
    job = job_in(S.RUNNING, container)
    stale = Job.objects.get(pk=job.pk)
    transition(job, S.SUCCEEDED)
    with pytest.raises(TransitionRefused, match="changed a moment ago"):
        transition(stale, S.CANCELLED)
    assert Job.objects.get(pk=job.pk).state == S.SUCCEEDED


def test_a_failure_says_why(container: Container) -> None:
    job = transition(
        job_in(S.RUNNING, container), S.FAILED, failure=Failure(code="disk_full", what="The disk is full.")
    )
    job.refresh_from_db()
    assert job.failure == {"code": "disk_full", "what": "The disk is full.", "why": "", "hint": ""}


def test_secrets_go_at_success_and_stay_for_a_retry_after_failure(container: Container) -> None:
    for end, kept in ((S.SUCCEEDED, ""), (S.FAILED, "x"), (S.CANCELLED, "x")):
        job = JobFactory(container=container, state=S.RUNNING, sealed="x")
        transition(job, end)
        assert Job.objects.get(pk=job.pk).sealed == kept
