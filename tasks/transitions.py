"""Job states: the one table, and the one function that moves a job along it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db import transaction
from django.utils import timezone

from contract.events import Failure
from tasks import notify
from tasks.errors import TransitionRefused
from tasks.models import Job, JobState
from tasks.registry import handlers

S = JobState
TABLE: dict[str, frozenset[str]] = {
    S.QUEUED: frozenset({S.RUNNING, S.FAILED, S.CANCELLED}),
    S.RUNNING: frozenset({S.SUCCEEDED, S.FAILED, S.CANCELLED}),
    S.SUCCEEDED: frozenset(),
    S.FAILED: frozenset(),
    S.CANCELLED: frozenset(),
}
"""queued -> failed: the host refused the order, or it expired before the host came back."""
ENDED = frozenset({S.SUCCEEDED, S.FAILED, S.CANCELLED})


@transaction.atomic
def transition(job: Job, to: JobState, *, at: datetime | None = None, failure: Failure | None = None) -> Job:
    """Move `job` to the state `to`, as one conditional UPDATE; handlers run in the same transaction.

    Raises TransitionRefused if the table has no such way, or the row is not in the state that `job` says.
    """
    old, at = job.state, at or timezone.now()
    if to not in TABLE[old]:
        raise TransitionRefused("job_state", f"A job that is {old} cannot become {to}.")
    changes = _changes(job, to, at, failure)
    moved = Job.objects.filter(pk=job.pk, state=old).update(state=to, **changes)
    if moved != 1:
        raise TransitionRefused(
            "job_state", "The job changed a moment ago.", f"It was {old} and is not any more.", "Look at it again."
        )
    for name, value in {"state": to, **changes}.items():
        setattr(job, name, value)
    handlers().on_job_changed(job, old)
    job_changed(job)
    return job


def job_changed(job: Job) -> None:
    """Hint to browsers that the job, and what it works on, are new."""
    topics = ["jobs", f"job:{job.pk}", f"host:{job.host_id}"]
    if job.container_id:
        topics += ["containers", f"container:{job.container_id}"]
    notify.changed(*topics)


def _changes(job: Job, to: JobState, at: datetime, failure: Failure | None) -> dict[str, Any]:
    if to == S.RUNNING:
        return {"started_at": at}
    changes: dict[str, Any] = {"finished_at": at, "holds_container": False}
    if to == S.SUCCEEDED:
        changes["sealed"] = ""
    if failure is not None:
        changes["failure"] = failure.model_dump()
    return changes
