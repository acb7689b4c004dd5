"""Whose turn it is on a container: at most one unended job holds it, the others wait in the order they came.

The partial unique constraint `job_one_changing_per_container` decides between racers on both databases.
"""

from __future__ import annotations

from uuid import UUID

from django.db import IntegrityError, transaction
from django.db.models import Exists, OuterRef
from django.utils import timezone

from tasks.models import Job, JobState


def is_free(container_id: UUID | None) -> bool:
    """No unfinished job is before a new one. A job on no container never waits."""
    return container_id is None or not Job.objects.unfinished().filter(container_id=container_id).exists()


def give_turn(container_id: UUID) -> Job | None:
    """Let the oldest waiting job hold the container if nobody does; the job that got its turn, or None."""
    waiting = (
        Job.objects.filter(container_id=container_id, state=JobState.QUEUED, holds_container=False)
        .order_by("created_at", "id")
        .first()
    )
    if waiting is None:
        return None
    held = Job.objects.filter(container_id=container_id, holds_container=True)
    try:
        with transaction.atomic():
            # Not Exists(held) in the UPDATE saves most losers; the unique constraint stops the rest.
            got = (
                Job.objects.filter(pk=waiting.pk, state=JobState.QUEUED, holds_container=False)
                .exclude(Exists(held.filter(container_id=OuterRef("container_id"))))
                .update(holds_container=True, sent_at=timezone.now())
            )
    except IntegrityError:
        return None
    waiting.refresh_from_db()
    return waiting if got else None


def waiting_containers() -> list[UUID]:
    """Containers on which a job waits though none holds it: a turn that was lost (a crash between two commits)."""
    holders = Job.objects.filter(container_id=OuterRef("container_id"), holds_container=True)
    rows = (
        Job.objects.filter(state=JobState.QUEUED, holds_container=False, container_id__isnull=False)
        .exclude(Exists(holders))
        .order_by()
        .values_list("container_id", flat=True)
        .distinct()
    )
    return [row for row in rows if row is not None]
