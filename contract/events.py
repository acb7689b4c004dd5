"""Events: what a host agent tells of a job, in the host's stream `keys.events()`.

Each is numbered within its job from 1 without gap; the portal stores (job, seq) once.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

LINE_MAX = 4096
"""Longest output line in characters; longer ones are cut with an ellipsis."""
LINES_MAX = 200
"""Most output lines in one event."""


class Outcome(StrEnum):
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


class StepState(StrEnum):
    RUNNING = "running"
    DONE = "done"
    SKIPPED = "skipped"
    FAILED = "failed"


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Started(_Body):
    """The job runs. `attempt` counts from 1; more than 1 means the agent was restarted in the middle."""

    type: Literal["started"] = "started"
    attempt: int = Field(ge=1)
    agent_version: str = Field(max_length=40)
    steps: list[tuple[str, str]] = Field(default_factory=list, max_length=30)
    """(key, title) of every step the job will take, in order, so that a page can show what is to come."""


class Step(_Body):
    type: Literal["step"] = "step"
    key: str = Field(max_length=40)
    title: str = Field(max_length=200)
    state: StepState


class Command(_Body):
    """A command as an administrator would type it; secrets are redacted by the agent."""

    type: Literal["command"] = "command"
    step: str = Field(max_length=40)
    line: str = Field(max_length=8192)


class Output(_Body):
    type: Literal["output"] = "output"
    step: str = Field(max_length=40)
    lines: list[Annotated[str, Field(max_length=LINE_MAX + 1)]] = Field(max_length=LINES_MAX)


class Progress(_Body):
    """`fraction` 0..1 of the step, or None where nobody can know."""

    type: Literal["progress"] = "progress"
    step: str = Field(max_length=40)
    fraction: float | None = Field(default=None, ge=0, le=1)
    text: str = Field(default="", max_length=200)


class Failure(_Body):
    """Why a job failed, in words fit for a person. `code` is stable."""

    code: str = Field(max_length=60, pattern=r"^[a-z][a-z0-9_]*$")
    what: str = Field(max_length=500)
    why: str = Field(default="", max_length=2000)
    hint: str = Field(default="", max_length=1000)


class Finished(_Body):
    """The job's end. `result` holds facts such as {"image_bytes": 1, "addresses": ["…"]}."""

    type: Literal["finished"] = "finished"
    outcome: Outcome
    failure: Failure | None = None
    result: dict[str, Any] = Field(default_factory=dict)


class Refused(_Body):
    """An order or live request that the agent would not obey; `job` of the event is None if it was unreadable."""

    type: Literal["refused"] = "refused"
    code: str = Field(max_length=60)
    why: str = Field(max_length=2000)


Body = Annotated[
    Started | Step | Command | Output | Progress | Finished | Refused,
    Field(discriminator="type"),
]


class Event(BaseModel):
    """`at` is the host's clock, UTC."""

    model_config = ConfigDict(extra="forbid")

    job: UUID | None
    seq: int = Field(ge=0)
    at: datetime
    body: Body


EVENT: TypeAdapter[Event] = TypeAdapter(Event)
