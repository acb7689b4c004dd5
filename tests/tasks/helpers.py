"""Jobs and events as tests write them."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from django.contrib.auth.models import User
from django.utils import timezone

from contract.events import Event, Finished, Outcome, Output, Started, Step, StepState
from contract.orders import Params, Start
from machines.models import Container, Host
from tasks.models import Job
from tasks.relay.ingest import Told, ingest
from tasks.services import job_request


def ask(by: User, container: Container, params: Params | None = None) -> Job:
    """A job on the container, as machines' services ask for it."""
    return job_request(
        by=by,
        params=params or Start(name=container.name),
        title=f"Start {container.name}",
        host_id=container.host_id,
        host_name=container.host.name,
        container_id=container.pk,
        container_name=container.name,
        team=container.team,
    )


def event(job: Job | UUID | None, seq: int, body: Any, at: datetime | None = None) -> Event:
    job_id = job.pk if isinstance(job, Job) else job
    return Event(job=job_id, seq=seq, at=at or timezone.now(), body=body)


def started(attempt: int = 1) -> Started:
    return Started(attempt=attempt, agent_version="0.1.0", steps=[("start", "Boot it")])


def step(state: str = "running") -> Step:
    return Step(key="start", title="Boot it", state=StepState(state))


def output(*lines: str) -> Output:
    return Output(step="start", lines=list(lines))


def finished(outcome: str = "succeeded", **result: Any) -> Finished:
    return Finished(outcome=Outcome(outcome), result=result)


def tell(host: Host, *events: Event) -> None:
    """What the relay does with one batch of one host's events."""
    ingest([Told(host.pk, host.name, one) for one in events])


def story(job: Job, *bodies: Any) -> list[Event]:
    """Events numbered from 1."""
    return [event(job, n, body) for n, body in enumerate(bodies, start=1)]
