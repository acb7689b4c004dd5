"""The net under everything that can be lost: run every few seconds by beat, each part by itself harmless to repeat."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from uuid import UUID

import structlog
from django.conf import settings
from django.db import transaction
from django.db.models import Max, Q
from django.utils import timezone
from redis import RedisError

from contract.events import Failure
from contract.live import CancelJob, ResendEvents
from tasks import dispatch, turns
from tasks.errors import TransitionRefused
from tasks.live import terminals
from tasks.models import Job, JobState, TerminalSession
from tasks.redis import client
from tasks.registry import handlers
from tasks.requests import send_request
from tasks.transitions import transition

log = structlog.get_logger(__name__)
S = JobState
EVERY_S = 5.0
UNSTARTED_S = 30
"""A sent order that has not begun in this time, on a host that is online, may have been lost."""
CANCEL_AGAIN_S = 10
SECRETS_KEPT = timedelta(days=1)


def sweep() -> None:
    """All parts; one that fails is logged and does not stop the others."""
    parts: tuple[Callable[[], object], ...] = (
        expire,
        give_lost_turns,
        send_again,
        cancel_again,
        ask_silent,
        give_up_cancelled,
        clear_secrets,
        terminals.sweep,
    )
    for part in parts:
        try:
            part()
        except RedisError as error:
            log.warning("sweep_part_waits", part=part.__name__, error=str(error))
        except Exception:
            log.exception("sweep_part_failed", part=part.__name__)


def expire() -> None:
    """Queued jobs whose order has run out fail, and say why."""
    limit = timezone.now() - timedelta(seconds=settings.ORDER_LIFETIME_S)
    online = handlers().online_hosts()
    for job in Job.objects.filter(state=S.QUEUED, created_at__lt=limit):
        with transaction.atomic():
            try:
                transition(job, S.FAILED, failure=_expired(job, online))
            except TransitionRefused:
                continue  # it began a moment ago
        _try_withdraw(job)
        dispatch.take_turn(job.container_id)


def _expired(job: Job, online: set[UUID]) -> Failure:
    if not job.holds_container:
        return Failure(
            code="order_expired",
            what="The job never had its turn.",
            why="Other jobs of the container took all the time that it may wait.",
            hint="Ask for it again.",
        )
    if job.host_id not in online:
        return Failure(
            code="host_offline",
            what=f"Host {job.host_name} is offline.",
            why="It did not come back in the time that an order waits.",
            hint="See on the host whether the nspawnweb-agent services run, then press Retry.",
        )
    return Failure(
        code="order_expired",
        what="The host did not begin in time.",
        why=f"{job.host_name} is online but did not take the order in the time that an order waits.",
        hint="See on the host's page what keeps it busy, then press Retry.",
    )


def _try_withdraw(job: Job) -> None:
    try:
        dispatch.withdraw(job)
    except RedisError as error:
        log.warning("order_not_withdrawn", job=str(job.pk), error=str(error))  # expired: the agent refuses it


def give_lost_turns() -> None:
    """A process died between the commit that ended a job and giving the turn to the next."""
    for container_id in turns.waiting_containers():
        dispatch.take_turn(container_id)


def send_again() -> None:
    """Orders that were not sent, or were lost on the way. What still waits in the host's queue is not doubled."""
    now = timezone.now()
    stale = Q(sent_at__isnull=True) | Q(sent_at__lt=now - timedelta(seconds=UNSTARTED_S))
    online = handlers().online_hosts()
    queues: dict[UUID, bytes] = {}
    for job in Job.objects.filter(stale, state=S.QUEUED, holds_container=True).order_by("created_at"):
        if job.sent_at is not None and job.host_id not in online:
            continue  # its order waits in the queue for the host
        if job.host_id not in queues:
            queues[job.host_id] = b"\n".join(dispatch.queued_orders(job.host_id))
        if str(job.pk).encode() not in queues[job.host_id]:
            _send_again(job, now)


def _send_again(job: Job, now: datetime) -> None:
    # Re-checked as one UPDATE: another sweep, or the job's own start, may have been quicker.
    same = Job.objects.filter(pk=job.pk, state=S.QUEUED, holds_container=True, sent_at=job.sent_at)
    if same.update(sent_at=now) == 1:
        log.info("order_sent_again", job=str(job.pk), host=job.host_name)
        dispatch.send(job)


def cancel_again() -> None:
    """Cancels that a running job's host has not obeyed yet: it was offline, or the request was lost."""
    before = timezone.now() - timedelta(seconds=CANCEL_AGAIN_S)
    online = handlers().online_hosts()
    for job in Job.objects.filter(state=S.RUNNING, cancel_requested_at__lt=before, host_id__in=online):
        if _once(f"cancel:{job.pk}", CANCEL_AGAIN_S):
            send_request(job.host_id, CancelJob(job=job.pk))


def ask_silent() -> None:
    """Have hosts tell again what may have been lost: events beyond a gap, or a job of which nothing is heard."""
    now = timezone.now()
    online = handlers().online_hosts()
    running = Job.objects.filter(state=S.RUNNING, host_id__in=online)
    stored = dict(running.order_by().values_list("pk").annotate(Max("events__seq")))
    for job in running:
        behind = (stored.get(job.pk) or 0) > job.last_seq
        silent = now - (job.heard_at or job.created_at) > timedelta(seconds=settings.JOB_SILENT_S / 2)
        if (behind or silent) and _once(f"resend:{job.pk}", 10 if behind else int(settings.JOB_SILENT_S / 2) or 1):
            send_request(job.host_id, ResendEvents(job=job.pk, after=job.last_seq))


def give_up_cancelled() -> None:
    """A cancel works for certain: a job that its host, though online, no longer knows of ends here.

    An agent that lost its memory (a host that was installed anew) answers to nothing. What it is doing after all, its
    inventory shows.
    """
    before = timezone.now() - timedelta(seconds=settings.JOB_SILENT_S)
    silent = Q(heard_at__isnull=True) | Q(heard_at__lt=before)
    online = handlers().online_hosts()
    for job in Job.objects.filter(silent, state=S.RUNNING, cancel_requested_at__lt=before, host_id__in=online):
        failure = Failure(
            code="no_answer",
            what="The host does not know of the job any more.",
            why=f"{job.host_name} is online, and answered neither to the cancel nor to the question what became of it.",
            hint="The container shows what is really there. Press Retry if the job is still wanted.",
        )
        try:
            transition(job, S.FAILED, failure=failure)
        except TransitionRefused:
            continue  # it spoke a moment ago
        dispatch.take_turn(job.container_id)


def clear_secrets() -> None:
    """A failed job's password hash is kept for a retry, for a day."""
    over = Job.objects.exclude(sealed="").filter(finished_at__lt=timezone.now() - SECRETS_KEPT)
    over.update(sealed="")


def prune_terminals() -> None:
    """Tickets and sessions that ended long ago; the audit trail keeps that they were."""
    TerminalSession.objects.filter(closed_at__lt=timezone.now() - timedelta(days=7)).delete()


def _once(name: str, seconds: int) -> bool:
    """True for the first in `seconds`, over all processes."""
    return bool(client().set(f"portal:once:{name}", "1", nx=True, ex=seconds))
