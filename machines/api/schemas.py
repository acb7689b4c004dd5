"""What goes in and out of the API. Bodies refuse unknown fields; answers name things as bodies do."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from ninja import Schema
from pydantic import BaseModel, ConfigDict, Field

from contract.events import Failure
from machines.api.paging import NO_NUL
from machines.models import ContainerState
from tasks.models import JobState


class _Body(Schema):
    model_config = ConfigDict(extra="forbid")


class CreateBody(_Body):
    """`host` and `team` may be left out: the host with most room, and your own team."""

    name: str = Field(max_length=200, description="Lower-case letters, digits and hyphens.", examples=["web1"])
    release: str = Field(max_length=100, pattern=NO_NUL, description="Slug of a release.", examples=["debian-bookworm"])
    host: str | None = Field(default=None, max_length=100, pattern=NO_NUL, description="Name or id of a host.")
    team: str | None = Field(default=None, max_length=100, pattern=NO_NUL, description="Slug of a team of yours.")
    start: bool = Field(default=True, description="Boot it once it is made.")
    autostart: bool = Field(default=False, description="Boot it whenever its host boots.")
    root_password: str | None = Field(default=None, max_length=1000, description="None: no login by password.")


class PasswordBody(_Body):
    password: str = Field(max_length=1000, description="The new password of root.")


class HostOut(BaseModel):
    """A host as last reported. Sizes in bytes."""

    id: UUID
    name: str
    online: bool
    last_seen: datetime | None
    os: str = ""
    arch: str = ""
    kernel: str = ""
    systemd: str = ""
    agent_version: str = ""
    cpus: int = 0
    load1: float | None = None
    memory_bytes: int = 0
    memory_used_bytes: int | None = None
    pool_fs: str = ""
    pool_bytes: int = 0
    pool_free_bytes: int | None = None


class ReleaseOut(BaseModel):
    """`built_on`: hosts that have its base image, where a container is made in about a second."""

    slug: str
    title: str
    distribution: str
    suite: str
    variant: str
    packages: list[str]
    built_on: list[str]


class ContainerOut(BaseModel):
    id: UUID
    name: str
    state: ContainerState
    state_at: datetime
    host: str
    host_id: UUID
    host_online: bool
    team: str
    owner: str | None
    release: str | None
    autostart: bool
    addresses: list[str]
    os: str
    image_bytes: int | None
    created_at: datetime
    started_at: datetime | None
    removed_at: datetime | None = None


class JobOut(BaseModel):
    """`failure` of a failed job says what happened, why, and what to do."""

    id: UUID
    kind: str
    title: str
    state: JobState
    host: str
    host_id: UUID
    container: str
    container_id: UUID | None
    team: str | None
    by: str
    retry_of: UUID | None
    attempt: int
    last_seq: int
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    cancel_requested_at: datetime | None
    failure: Failure | None
    result: dict[str, Any]


class StepOut(BaseModel):
    """`state`: pending, running, done, skipped, failed or stopped. `fraction` 0..1 of it, where one can know."""

    key: str
    title: str
    state: str
    started_at: datetime | None
    ended_at: datetime | None
    fraction: float | None
    text: str


class JobDetail(JobOut):
    waiting: str = Field(description="Why it does not move, for a person; empty if it does, or is over.")
    params: dict[str, Any] = Field(description="What was asked, without secrets.")
    steps: list[StepOut]
    commands: list[str] = Field(description="What was run, as an administrator would type it; secrets are redacted.")


class EventOut(BaseModel):
    """One event as the host told it; `data` depends on `type`."""

    seq: int
    at: datetime
    type: str
    data: dict[str, Any]


class EventsOut(BaseModel):
    """Ask again with `after` = `last`, until `over` and not `more`. `more`: there are newer ones already."""

    items: list[EventOut]
    last: int
    more: bool
    state: JobState
    over: bool


class CreatedOut(BaseModel):
    """Accepted: the job makes the container."""

    container: ContainerOut
    job: JobOut


class AcceptedOut(BaseModel):
    """Accepted: follow the job."""

    job: JobOut
