"""What a job told while it ran."""

from __future__ import annotations

from django.db import models

from tasks.models.job import Job


class JobEvent(models.Model):
    """One contract.events.Event, stored once by (job, seq)."""

    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="events")
    seq = models.PositiveIntegerField()
    at = models.DateTimeField()
    type = models.CharField(max_length=20)
    data = models.JSONField()
    """The event's body without `type`."""

    class Meta:
        ordering = ["job", "seq"]
        constraints = [models.UniqueConstraint(fields=["job", "seq"], name="job_event_once")]

    def __str__(self) -> str:
        return f"{self.job_id} #{self.seq} {self.type}"
