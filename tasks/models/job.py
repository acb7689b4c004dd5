"""Jobs: one requested operation each, kept for ever."""

from __future__ import annotations

import uuid
from datetime import timedelta

from django.conf import settings
from django.db import models
from django.db.models import Q

from tasks.managers import JobManager


class JobState(models.TextChoices):
    """Moved by `tasks.transitions` alone: see the table there."""

    QUEUED = "queued", "Queued"
    RUNNING = "running", "Running"
    SUCCEEDED = "succeeded", "Succeeded"
    FAILED = "failed", "Failed"
    CANCELLED = "cancelled", "Cancelled"


class Job(models.Model):
    """What was asked of which host, by whom, and what became of it.

    Host and container are plain columns, not foreign keys: a job outlives both, and this app knows neither.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    kind = models.CharField(max_length=40)
    """A value of contract.orders.Kind."""
    params = models.JSONField(default=dict)
    """The order's parameters without secrets (contract.orders.SECRET_FIELDS): fit for pages and the API."""
    sealed = models.TextField(blank=True)
    """The secrets, encrypted (tasks.sealing). Cleared when the job succeeds, or a day after it failed, so that a retry
    in that time is whole."""
    has_secrets = models.BooleanField(default=False)
    """It had some, even if they are cleared by now."""
    title = models.CharField(max_length=200)
    """What a person reads: Create container web1."""
    state = models.CharField(max_length=20, choices=JobState.choices, default=JobState.QUEUED)
    host_id = models.UUIDField(db_index=True)
    host_name = models.CharField(max_length=64)
    container_id = models.UUIDField(null=True, blank=True, db_index=True)
    container_name = models.CharField(max_length=64, blank=True)
    team = models.ForeignKey("teams.Team", null=True, blank=True, on_delete=models.SET_NULL, related_name="jobs")
    """None: a job on the host itself, for operators."""
    by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")
    by_name = models.CharField(max_length=150)
    retry_of = models.ForeignKey("self", null=True, blank=True, on_delete=models.SET_NULL, related_name="retries")
    holds_container = models.BooleanField(default=False)
    """It is this job's turn on its container: it has been sent, or is about to be. Others of the container wait."""
    created_at = models.DateTimeField(auto_now_add=True)
    sent_at = models.DateTimeField(null=True, blank=True)
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    cancel_requested_at = models.DateTimeField(null=True, blank=True)
    cancel_by_name = models.CharField(max_length=150, blank=True)
    attempt = models.PositiveIntegerField(default=0)
    last_seq = models.PositiveIntegerField(default=0)
    """The newest event stored without gap."""
    heard_at = models.DateTimeField(null=True, blank=True)
    """When the relay last stored something of it, by the portal's clock."""
    failure = models.JSONField(null=True, blank=True)
    """contract.events.Failure of a failed job."""
    result = models.JSONField(default=dict)

    objects = JobManager()

    class Meta:
        ordering = ["-created_at", "id"]
        constraints = [
            models.UniqueConstraint(
                fields=["container_id"],
                condition=Q(holds_container=True),
                name="job_one_changing_per_container",
            ),
            models.CheckConstraint(
                condition=Q(holds_container=False) | Q(state__in=["queued", "running"]),
                name="job_ended_holds_nothing",
            ),
        ]
        indexes = [
            models.Index(fields=["state", "created_at"]),
            models.Index(fields=["-created_at", "id"]),
        ]

    def __str__(self) -> str:
        return f"{self.title} ({self.state})"

    @property
    def is_over(self) -> bool:
        return self.state in {JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED}

    @property
    def took(self) -> timedelta | None:
        """From its beginning on the host to its end; None while it has not both."""
        return self.finished_at - self.started_at if self.started_at and self.finished_at else None

    @property
    def shown_state(self) -> str:
        """The state as a person sees it: `cancelling` from the wish to its end."""
        return "cancelling" if self.cancel_requested_at and not self.is_over else self.state
