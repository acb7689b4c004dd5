"""`jobs`: what was asked, how it goes, what it told."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from django.db.models import F
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from ninja import Query, Router

from contract.orders import Kind
from machines.api import defaults
from machines.api.auth import caller
from machines.api.paging import Cursor, Limit, Page, Text, page, page_rows, reply
from machines.api.schemas import AcceptedOut, EventOut, EventsOut, JobDetail, JobOut, StepOut
from tasks import services
from tasks.models import Job, JobState
from tasks.selectors import job_story
from teams.errors import NotFound

router = Router(tags=["jobs"])

COLUMNS = (
    "kind",
    "title",
    "state",
    "host_id",
    "host_name",
    "container_id",
    "container_name",
    "by_name",
    "retry_of_id",
    "attempt",
    "last_seq",
    "started_at",
    "finished_at",
    "cancel_requested_at",
    "failure",
    "result",
)
JOINED = {"team_slug": F("team__slug")}
ORDER = ("-created_at", "id")
EVENTS_MAX = 1000


def _fields(row: dict[str, Any]) -> dict[str, Any]:
    """COLUMNS, JOINED and ORDER by the API's names."""
    renamed = {"host": "host_name", "container": "container_name", "by": "by_name", "team": "team_slug"}
    renamed |= {"retry_of": "retry_of_id"}
    same = set(JobOut.model_fields) - set(renamed)
    return {name: row[name] for name in same} | {name: row[column] for name, column in renamed.items()}


def _job_row(row: dict[str, Any]) -> JobOut:
    return JobOut(**_fields(row))


def _row_of(job: Job) -> dict[str, Any]:
    row = {name: getattr(job, name) for name in ("id", "created_at", *COLUMNS)}
    return row | {"team_slug": job.team.slug if job.team else None}


def job_out(job: Job) -> JobOut:
    """A job as the API tells it."""
    return _job_row(_row_of(job))


def job_path(job: Job) -> str:
    """Where to follow it."""
    return reverse("api-1:job_get", kwargs={"ident": job.pk})


@router.get("/jobs", response=Page[JobOut], summary="Jobs")
def job_list(
    request: HttpRequest,
    limit: Limit,
    cursor: Cursor,
    state: Annotated[JobState | None, Query(default=None)],
    kind: Annotated[Kind | None, Query(default=None)],
    host: Text,
    team: Text,
    container: Annotated[UUID | None, Query(default=None)],
) -> HttpResponse:
    """The newest first. `container` is an id, also of one that was removed."""
    user = caller(request)
    lookups: dict[str, Any] = {"state": state, "kind": kind, "container_id": container}
    lookups["host_id"] = defaults.host_named(user, host).pk if host else None
    lookups["team"] = defaults.team_named(user, team) if team else None
    found = Job.objects.visible_to(user).filter(**{name: value for name, value in lookups.items() if value is not None})
    return reply(page(page_rows(found, ORDER, COLUMNS, JOINED, cursor=cursor, limit=limit), _job_row, JobOut))


@router.get("/jobs/{uuid:ident}", response=JobDetail, summary="One job", url_name="job_get")
def job_get(request: HttpRequest, ident: UUID) -> HttpResponse:
    """With its steps and the commands that ran."""
    job = _job(request, ident)
    return reply(_detail(job))


@router.get("/jobs/{uuid:ident}/events", response=EventsOut, summary="A job's events")
def job_events(
    request: HttpRequest,
    ident: UUID,
    after: Annotated[int, Query(default=0, ge=0, le=2**31 - 1)],
    limit: Annotated[int, Query(default=EVENTS_MAX, ge=1, le=EVENTS_MAX)],
) -> HttpResponse:
    """The events numbered above `after`, in order and without gap."""
    job = _job(request, ident)
    found = job.events.filter(seq__gt=after, seq__lte=job.last_seq).order_by("seq")[: limit + 1]
    rows = list(found.values("seq", "at", "type", "data"))
    more, rows = len(rows) > limit, rows[:limit]
    last = rows[-1]["seq"] if rows else after
    items = [EventOut(**row) for row in rows]
    return reply(EventsOut(items=items, last=last, more=more, state=JobState(job.state), over=job.is_over))


@router.post("/jobs/{uuid:ident}/cancel", response={202: AcceptedOut}, summary="Cancel a job")
def job_cancel(request: HttpRequest, ident: UUID) -> HttpResponse:
    """At once if it has not begun; else its host is asked to stop and clean up."""
    job = services.job_cancel(by=caller(request), job=_job(request, ident))
    return reply(AcceptedOut(job=job_out(job)), 202, location=job_path(job))


@router.post("/jobs/{uuid:ident}/retry", response={202: AcceptedOut}, summary="Run a job again")
def job_retry(request: HttpRequest, ident: UUID) -> HttpResponse:
    """A new job with the same order, of one that failed or was cancelled."""
    job = services.job_retry(by=caller(request), job=_job(request, ident))
    return reply(AcceptedOut(job=job_out(job)), 202, location=job_path(job))


def _job(request: HttpRequest, ident: UUID) -> Job:
    job = Job.objects.visible_to(caller(request)).select_related("team").filter(pk=ident).first()
    if job is None:
        raise NotFound("There is no such job, or you may not see it.")
    return job


def _detail(job: Job) -> JobDetail:
    story = job_story(job)
    steps = [StepOut(**{name: getattr(step, name) for name in StepOut.model_fields}) for step in story.steps]
    fields = _fields(_row_of(job))
    return JobDetail(**fields, waiting=story.waiting, params=job.params, steps=steps, commands=story.commands)
