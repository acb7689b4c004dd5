"""Celery tasks of the portal's own worker: each calls a service."""

from __future__ import annotations

from celery import shared_task

from machines.services import upkeep


@shared_task(name="portal.prune_samples", ignore_result=True)
def prune_samples() -> None:
    upkeep.prune_samples()


@shared_task(name="portal.tell_offline", ignore_result=True)
def tell_offline() -> None:
    upkeep.tell_offline()
