"""What the portal does by itself from time to time."""

from __future__ import annotations

from datetime import timedelta

from django.utils import timezone

from contract.live import OFFLINE_AFTER_S
from machines.models import ContainerSample, EnrolmentToken, Host, HostSample
from tasks import notify

SAMPLES_KEPT = timedelta(hours=7)
"""An hour more than the longest chart."""
TOKENS_KEPT = timedelta(days=30)
_TELL_FOR = timedelta(seconds=15)
"""Longer than the time between two calls, so that none is missed; a page told twice loses nothing."""


def prune_samples() -> None:
    """Old samples, and enrolment tokens that were used or ran out long ago."""
    before = timezone.now() - SAMPLES_KEPT
    HostSample.objects.filter(at__lt=before).delete()
    ContainerSample.objects.filter(at__lt=before).delete()
    EnrolmentToken.objects.filter(expires_at__lt=timezone.now() - TOKENS_KEPT).delete()


def tell_offline() -> None:
    """Nothing happens when a host falls silent; pages that show it must be told all the same."""
    since = timezone.now() - timedelta(seconds=OFFLINE_AFTER_S)
    gone = Host.objects.enrolled().filter(last_seen__lte=since, last_seen__gt=since - _TELL_FOR)
    topics = [f"host:{pk}" for pk in gone.values_list("pk", flat=True)]
    if topics:
        notify.changed("hosts", "containers", "jobs", *topics)
