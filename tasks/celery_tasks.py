"""Celery tasks of the portal's own worker: each calls a service."""

from __future__ import annotations

from celery import shared_task

from tasks import sweep as sweeping


@shared_task(name="portal.sweep", ignore_result=True, expires=sweeping.EVERY_S * 2)
def sweep() -> None:
    sweeping.sweep()


@shared_task(name="portal.prune_terminals", ignore_result=True)
def prune_terminals() -> None:
    sweeping.prune_terminals()
