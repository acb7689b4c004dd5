"""Reads on jobs: the story of one, its output after a point, and why one waits."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from tasks.models import Job, JobEvent, JobState
from tasks.registry import handlers

TAIL_LINES = 500
"""Output lines of a step that a page begins with; the whole is there by `job_output`."""
EVENTS_PAGE = 500


@dataclass
class StepStory:
    """One step. `state`: pending, running, done, skipped, failed, or stopped (the job was cancelled in it)."""

    key: str
    title: str
    state: str = "pending"
    started_at: datetime | None = None
    ended_at: datetime | None = None
    fraction: float | None = None
    """0..1, or None where nobody can know."""
    text: str = ""
    commands: list[str] = field(default_factory=list)
    lines: deque[str] = field(default_factory=lambda: deque(maxlen=TAIL_LINES))
    """The last output lines."""
    lines_total: int = 0

    @property
    def seconds(self) -> float | None:
        if self.started_at is None or self.ended_at is None:
            return None
        return max(0.0, (self.ended_at - self.started_at).total_seconds())

    @property
    def percent(self) -> int | None:
        return None if self.fraction is None else round(self.fraction * 100)


@dataclass
class Story:
    """What became of a job so far. `last_seq`: the newest event in it; ask `job_output` for what follows."""

    job: Job
    steps: list[StepStory] = field(default_factory=list)
    waiting: str = ""
    """Why it does not run yet, for a person; empty if it runs, is over, or starts any moment."""
    agent_version: str = ""
    last_seq: int = 0

    @property
    def commands(self) -> list[str]:
        return [line for step in self.steps for line in step.commands]

    @property
    def current(self) -> StepStory | None:
        return next((step for step in self.steps if step.state == "running"), None)

    @property
    def done(self) -> int:
        return sum(step.state in {"done", "skipped"} for step in self.steps)


def job_story(job: Job) -> Story:
    """All steps with times, state, progress, commands and last lines of output."""
    story = Story(job=job, waiting=waiting_reason(job))
    steps: dict[str, StepStory] = {}
    for event in job.events.filter(seq__lte=job.last_seq).order_by("seq").iterator(chunk_size=1000):
        _tell(story, steps, event)
        story.last_seq = event.seq
    story.steps = list(steps.values())
    _close(story)
    return story


def _tell(story: Story, steps: dict[str, StepStory], event: JobEvent) -> None:
    data: dict[str, Any] = event.data
    if event.type == "started":
        story.agent_version = data.get("agent_version", "")
        for key, title in data.get("steps", []):
            steps.setdefault(key, StepStory(key, title))
        return
    key = data.get("key") or data.get("step")
    if not key:
        return
    step = steps.setdefault(key, StepStory(key, data.get("title") or key))
    if event.type == "step":
        step.title, step.state = data.get("title") or step.title, data["state"]
        if step.state == "running":
            step.started_at, step.ended_at = event.at, None
        else:
            step.ended_at = event.at
    elif event.type == "command":
        step.commands.append(data["line"])
    elif event.type == "output":
        step.lines.extend(data["lines"])
        step.lines_total += len(data["lines"])
    elif event.type == "progress":
        step.fraction, step.text = data.get("fraction"), data.get("text", "")


def _close(story: Story) -> None:
    """A step that ran when its job ended has ended with it."""
    if not story.job.is_over:
        return
    for step in story.steps:
        if step.state == "running":
            step.state = {JobState.FAILED: "failed", JobState.CANCELLED: "stopped"}.get(
                JobState(story.job.state), "done"
            )
            step.ended_at = story.job.finished_at


def job_output(job: Job, after_seq: int = 0, limit: int = EVENTS_PAGE) -> list[dict[str, Any]]:
    """Events after `after_seq` in order and without gap: [{seq, at, type, data}…], at most `limit`."""
    rows = job.events.filter(seq__gt=after_seq, seq__lte=job.last_seq).order_by("seq")[:limit]
    return [{"seq": row.seq, "at": row.at.isoformat(), "type": row.type, "data": row.data} for row in rows]


def waiting_reason(job: Job) -> str:
    """Why an unfinished job does not move, in words for a person; "" if it does."""
    if job.is_over:
        return ""
    online = job.host_id in handlers().online_hosts()
    if job.state == JobState.RUNNING:
        return "" if online else f"Host {job.host_name} is offline; when it returns it says what became of the job."
    if not job.holds_container:
        ahead = (
            Job.objects.unfinished()
            .filter(container_id=job.container_id, created_at__lte=job.created_at)
            .exclude(pk=job.pk)
            .order_by("-holds_container", "created_at")
            .first()
        )
        return f"Waits for “{ahead.title}”." if ahead else "Waits for its turn."
    if not online:
        return f"Host {job.host_name} is offline; the job runs when it returns."
    if job.sent_at is None:
        return "Redis does not answer; the job is sent as soon as it does."
    return ""
