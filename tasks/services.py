"""Writes on jobs: ask for one, cancel it, run it again, give up on it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from uuid import UUID, uuid4

import structlog
from django.conf import settings
from django.contrib.auth.models import User
from django.db import IntegrityError, transaction
from django.utils import timezone
from redis import RedisError

from audit.services import record
from contract import keys
from contract.events import Failure
from contract.live import CancelJob
from contract.orders import PARAMS, Params
from tasks import dispatch, sealing, turns
from tasks.errors import JobIsOver, JobNotOver
from tasks.models import Job, JobState
from tasks.redis import client
from tasks.registry import handlers
from tasks.requests import send_request
from tasks.transitions import job_changed, transition
from teams.errors import Conflict
from teams.models import Team
from teams.permissions import Permission, require

log = structlog.get_logger(__name__)
S = JobState


@transaction.atomic
def job_request(
    *,
    by: User,
    params: Params,
    title: str,
    host_id: UUID,
    host_name: str,
    container_id: UUID | None = None,
    container_name: str = "",
    team: Team | None = None,
    retry_of: Job | None = None,
) -> Job:
    """Store a job with its audit row and send its order after the commit, or let it wait for its container.

    The caller has checked the permission: this room knows no containers.
    """
    target = Target(host_id, host_name, container_id, container_name, team)
    job = _new(by, params, title, target, retry_of)
    _insert(job)
    _record_request(by, job)
    handlers().on_job_changed(job, None)
    if job.holds_container:
        dispatch.send_on_commit(job)
    else:
        # The holder may end between our look and our commit: whoever commits last gives the turn.
        transaction.on_commit(partial(dispatch.take_turn, container_id), robust=True)
    job_changed(job)
    return job


@transaction.atomic
def job_done(
    *,
    by: User,
    params: Params,
    title: str,
    host_id: UUID,
    host_name: str,
    container_id: UUID | None = None,
    container_name: str = "",
    team: Team | None = None,
) -> Job:
    """A job that the portal has done by itself: stored with its audit row and its end, and never sent."""
    target = Target(host_id, host_name, container_id, container_name, team)
    job = _new(by, params, title, target, None)
    job.save(force_insert=True)
    _record_request(by, job)
    handlers().on_job_changed(job, None)
    return transition(transition(job, S.RUNNING), S.SUCCEEDED)


@dataclass(frozen=True)
class Target:
    """What a job works on, as plain facts."""

    host_id: UUID
    host_name: str
    container_id: UUID | None
    container_name: str
    team: Team | None


def _new(by: User, params: Params, title: str, target: Target, retry_of: Job | None) -> Job:
    public, sealed = sealing.split(params.model_dump(mode="json"))
    return Job(
        id=uuid4(),
        kind=params.kind.value,
        params=public,
        sealed=sealed,
        has_secrets=bool(sealed),
        title=title,
        host_id=target.host_id,
        host_name=target.host_name,
        container_id=target.container_id,
        container_name=target.container_name,
        team=target.team,
        by=by,
        by_name=by.get_username(),
        retry_of=retry_of,
    )


def _record_request(by: User, job: Job) -> None:
    detail = {"job": str(job.pk), "host": job.host_name, "params": job.params}
    if job.retry_of_id:
        detail["retry_of"] = str(job.retry_of_id)
    record(
        by=by,
        action=job.kind,
        team_id=job.team_id,
        object_type="container" if job.container_id else "host",
        object_id=str(job.container_id or job.host_id),
        object_name=job.container_name or job.host_name,
        detail=detail,
    )


def _insert(job: Job) -> None:
    """Save the job, holding its container if that is free. Between two racers the unique constraint decides."""
    if turns.is_free(job.container_id):
        try:
            with transaction.atomic():
                job.holds_container, job.sent_at = True, timezone.now()
                job.save(force_insert=True)
                return
        except IntegrityError:
            log.info("turn_lost", job=str(job.pk), container=str(job.container_id))
    job.holds_container, job.sent_at = False, None
    job.save(force_insert=True)


@transaction.atomic
def job_cancel(*, by: User, job: Job) -> Job:
    """Cancel: one that has not begun ends at once; one that runs is stopped and cleaned up by its host.

    May be pressed again: the host is then asked again. Raises JobIsOver, NotFound, PermissionDenied.
    """
    require(by, Permission.JOB_CANCEL, job.team)
    job = Job.objects.select_for_update().get(pk=job.pk)
    if job.is_over:
        raise JobIsOver("job_over", "There is nothing to cancel.", f"The job has {job.state} already.")
    _record(by, "job.cancel", job)
    job.cancel_requested_at, job.cancel_by_name = timezone.now(), by.get_username()
    job.save(update_fields=["cancel_requested_at", "cancel_by_name"])
    if job.state == S.QUEUED:
        transition(job, S.CANCELLED)
        transaction.on_commit(partial(dispatch.take_turn, job.container_id), robust=True)
    transaction.on_commit(partial(tell_cancelled, job), robust=True)
    job_changed(job)
    return job


def tell_cancelled(job: Job) -> None:
    """Take the order out of the host's queue, and ask the host, signed, to stop what it has taken already."""
    try:
        dispatch.withdraw(job)
        client().set(keys.cancelled(job.host_id, job.pk), "1", ex=int(settings.ORDER_LIFETIME_S) + 3600)
        send_request(job.host_id, CancelJob(job=job.pk))
    except RedisError as error:
        log.warning("cancel_not_sent", job=str(job.pk), error=str(error))  # the sweep sends it again


@transaction.atomic
def job_retry(*, by: User, job: Job) -> Job:
    """Ask for the same again, as a new job. Raises JobNotOver, Conflict (secrets gone), and what the handlers say."""
    require(by, Permission.JOB_RETRY, job.team)
    job = Job.objects.select_for_update().get(pk=job.pk)
    if job.state not in {S.FAILED, S.CANCELLED}:
        raise JobNotOver("job_not_failed", "Only a failed or cancelled job can run again.", f"This one is {job.state}.")
    if job.has_secrets and not job.sealed:
        raise Conflict(
            "secrets_gone",
            "This job cannot run again as it was.",
            "The password that it was to set is not kept longer than a day.",
            "Ask for it anew, with the password.",
        )
    handlers().retry_allowed(by, job)
    return job_request(
        by=by,
        params=handlers().retry_params(job, PARAMS.validate_python(sealing.join(job.params, job.sealed))),
        title=job.title,
        host_id=job.host_id,
        host_name=job.host_name,
        container_id=job.container_id,
        container_name=job.container_name,
        team=job.team,
        retry_of=job,
    )


@transaction.atomic
def job_declare_lost(*, by: User, job: Job) -> Job:
    """An operator's way out for a job whose host will never tell: it fails, and the container is free again.

    Only while the host is offline or has said nothing of the job for a while; else cancel is the way.
    """
    require(by, Permission.JOB_DECLARE_LOST)
    job = Job.objects.select_for_update().get(pk=job.pk)
    if job.is_over:
        raise JobIsOver("job_over", "There is nothing to give up.", f"The job has {job.state} already.")
    silent_since = job.heard_at or job.created_at
    online = job.host_id in handlers().online_hosts()
    if online and timezone.now() - silent_since < timedelta(seconds=settings.JOB_SILENT_S):
        raise Conflict(
            "job_not_lost",
            "The job is not lost.",
            "Its host is online and told of it a moment ago.",
            "Cancel it instead.",
        )
    _record(by, "job.declare_lost", job)
    failure = Failure(
        code="declared_lost",
        what="The job was declared lost.",
        why=f"Its host did not tell what became of it; {by.get_username()} gave it up.",
        hint="When the host returns, its inventory shows what is really there.",
    )
    transition(job, S.FAILED, failure=failure)
    transaction.on_commit(partial(tell_cancelled, job), robust=True)
    transaction.on_commit(partial(dispatch.take_turn, job.container_id), robust=True)
    return job


def _record(by: User, action: str, job: Job) -> None:
    record(
        by=by,
        action=action,
        team_id=job.team_id,
        object_type="job",
        object_id=str(job.pk),
        object_name=job.title,
        detail={"host": job.host_name, "container": job.container_name, "state": job.state},
    )
