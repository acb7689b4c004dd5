"""Events of jobs: from a batch of stream entries to rows and states, once each and without gap."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any
from uuid import UUID

import structlog
from django.db import transaction
from django.utils import timezone

from audit.services import record
from contract.events import Event, Failure, Finished, Outcome, Refused, Started
from contract.live import CancelJob, ResendEvents
from contract.orders import SECRET_FIELDS
from tasks import dispatch
from tasks.models import Job, JobEvent, JobState
from tasks.redis import client
from tasks.registry import handlers
from tasks.requests import send_request
from tasks.transitions import job_changed, transition

log = structlog.get_logger(__name__)
S = JobState
SEQ_MAX = 2_000_000_000
"""What the column holds; no job tells so much."""
RESEND_EVERY_S = 2
_OUTCOMES = {Outcome.SUCCEEDED: S.SUCCEEDED, Outcome.FAILED: S.FAILED, Outcome.CANCELLED: S.CANCELLED}
_UNANSWERED = frozenset({"replayed"})
"""Refusals that say nothing of the job itself: its own order was taken before."""


@dataclass(frozen=True)
class Told:
    """An event, and which host told it (by whose stream it came)."""

    host_id: UUID
    host_name: str
    event: Event


def ingest(batch: Iterable[Told]) -> None:
    """Store and apply the events. Inside a transaction; raises only for what the whole batch must be tried again."""
    by_job: dict[UUID, list[Told]] = defaultdict(list)
    for told in batch:
        if told.event.job is None or isinstance(told.event.body, Refused):
            refused(told)
        else:
            by_job[told.event.job].append(told)
    # In the order of their keys, so that two relays never wait for each other crosswise.
    jobs = {job.pk: job for job in Job.objects.filter(pk__in=list(by_job)).order_by("pk").select_for_update()}
    for job_id, all_told in by_job.items():
        _one_job(jobs.get(job_id), all_told)


def _one_job(job: Job | None, told: list[Told]) -> None:
    foreign = [one for one in told if job is None or one.host_id != job.host_id]
    for one in foreign[:1]:
        reject(one.host_id, one.host_name, "foreign_event", f"It told of job {one.event.job}, which is not its own.")
    if job is None or len(foreign) == len(told):
        return
    fresh = {one.event.seq: one.event for one in told if one.host_id == job.host_id and one.event.seq > job.last_seq}
    usable = [event for event in fresh.values() if 0 < event.seq <= SEQ_MAX]
    if not usable:
        return
    JobEvent.objects.bulk_create((_row(job, event) for event in usable), ignore_conflicts=True)
    before = job.last_seq
    _apply_ready(job, {event.seq: event for event in usable})
    if any(event.seq > job.last_seq for event in usable):
        ask_again(job)
    if job.last_seq != before:
        job_changed(job)


def _apply_ready(job: Job, fresh: dict[int, Event]) -> None:
    """Apply all events that follow without gap, those stored earlier beyond a gap as well."""
    stored: dict[int, Event] = {}
    if min(fresh) > job.last_seq + 1 or job.events.filter(seq__gt=max(fresh)).exists() or _has_holes(job, fresh):
        rows = job.events.filter(seq__gt=job.last_seq).order_by("seq")
        stored = {row.seq: _event(row) for row in rows}
    ready = stored | fresh
    while (event := ready.get(job.last_seq + 1)) is not None:
        job.last_seq = event.seq
        _apply(job, event)
    job.heard_at = timezone.now()
    Job.objects.filter(pk=job.pk).update(
        last_seq=job.last_seq, heard_at=job.heard_at, attempt=job.attempt, result=job.result
    )


def _has_holes(job: Job, fresh: dict[int, Event]) -> bool:
    return len(fresh) != max(fresh) - job.last_seq


def _apply(job: Job, event: Event) -> None:
    body = event.body
    if isinstance(body, Started):
        job.attempt = max(job.attempt, body.attempt)
        if job.state == S.QUEUED:
            transition(job, S.RUNNING, at=_at(job, event))
        elif job.is_over:
            log.info("started_after_end", job=str(job.pk), state=job.state)
            transaction.on_commit(partial(_stop_late, job), robust=True)
    elif isinstance(body, Finished):
        _finish(job, event, body)


def _finish(job: Job, event: Event, body: Finished) -> None:
    to = _OUTCOMES[body.outcome]
    if job.is_over:
        # It was cancelled or given up here before the host could know; what the host did is told all the same.
        if job.state != to:
            job.result = {**_public(body.result), "late_outcome": to.value}
        return
    job.result = _public(body.result)
    if job.state == S.QUEUED and to == S.SUCCEEDED:
        transition(job, S.RUNNING, at=_at(job, event))
    failure = body.failure
    if to == S.FAILED and failure is None:
        failure = Failure(code="unknown", what="The job failed.", why="The host gave no reason.")
    transition(job, to, at=_at(job, event), failure=failure if to == S.FAILED else None)
    transaction.on_commit(partial(dispatch.take_turn, job.container_id), robust=True)


def refused(told: Told) -> None:
    """A host would not obey: in the audit trail, and the end of the job if it was waiting for that very order."""
    body, event = told.event.body, told.event
    code = body.code if isinstance(body, Refused) else "unknown"
    why = body.why if isinstance(body, Refused) else ""
    job = Job.objects.select_for_update().filter(pk=event.job, host_id=told.host_id).first() if event.job else None
    record(
        by=None,
        actor_name=f"host:{told.host_name}",
        action="order.refused",
        object_type="job" if event.job else "host",
        object_id=str(event.job or told.host_id),
        object_name=job.title if job else told.host_name,
        team_id=job.team_id if job else None,
        detail={"code": code, "why": _clean(why)},
    )
    handlers().on_refused(told.host_id, event)
    if job is not None and job.state == S.QUEUED and job.holds_container and code not in _UNANSWERED:
        failure = Failure(code="order_refused", what="The host refused the order.", why=_clean(why)[:2000])
        transition(job, S.FAILED, failure=failure)
        transaction.on_commit(partial(dispatch.take_turn, job.container_id), robust=True)


def reject(host_id: UUID, host_name: str, code: str, why: str) -> None:
    """Something in a host's stream that cannot be: logged and in the audit trail, and otherwise skipped."""
    log.error("event_rejected", host=host_name, code=code, why=why)
    record(
        by=None,
        actor_name=f"host:{host_name}",
        action="event.rejected",
        object_type="host",
        object_id=str(host_id),
        object_name=host_name,
        detail={"code": code, "why": _clean(why)[:500]},
    )


def ask_again(job: Job) -> None:
    """Have the host send what is missing, after the commit; at most once in RESEND_EVERY_S a job."""
    after = job.last_seq

    def ask() -> None:
        if client().set(f"portal:resend:{job.pk}", "1", nx=True, ex=RESEND_EVERY_S):
            log.info("events_missing", job=str(job.pk), after=after)
            send_request(job.host_id, ResendEvents(job=job.pk, after=after))

    transaction.on_commit(ask, robust=True)


def _stop_late(job: Job) -> None:
    send_request(job.host_id, CancelJob(job=job.pk))


def _at(job: Job, event: Event) -> datetime:
    """The host's time, if it can be: not before the job was asked for, not after now."""
    at = event.at if event.at.tzinfo else timezone.make_aware(event.at, timezone.get_default_timezone())
    return max(min(at, timezone.now()), job.started_at or job.created_at)


def _row(job: Job, event: Event) -> JobEvent:
    data = _clean(event.body.model_dump(mode="json", exclude={"type"}))
    at = event.at if event.at.tzinfo else timezone.make_aware(event.at, timezone.get_default_timezone())
    return JobEvent(job=job, seq=event.seq, at=at, type=event.body.type, data=data)


def _event(row: JobEvent) -> Event:
    return Event.model_validate(
        {"job": row.job_id, "seq": row.seq, "at": row.at, "body": {"type": row.type, **row.data}}
    )


def _public(result: dict[str, Any]) -> dict[str, Any]:
    return {key: _clean(value) for key, value in result.items() if key not in SECRET_FIELDS}


def _clean(value: Any) -> Any:
    """Without NUL characters, which PostgreSQL holds neither in text nor in JSON."""
    if isinstance(value, str):
        return value.replace("\0", "\ufffd")
    if isinstance(value, dict):
        return {_clean(key): _clean(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_clean(one) for one in value]
    return value
