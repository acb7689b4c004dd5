"""A job's moves, as they show on its container."""

from __future__ import annotations

from typing import Any

from django.utils import timezone

from contract.live import MachineState
from contract.orders import Kind
from machines.handlers.states import SHOWN, clamped, pending_kinds, settled
from machines.models import Container
from tasks.models import Job, JobState

_MACHINE_STATES = frozenset(MachineState)


def job_changed(job: Job, old_state: str | None) -> None:
    """Called by tasks inside its transaction."""
    if job.container_id is None:
        return
    container = Container.objects.select_for_update().filter(pk=job.container_id).first()
    if container is None or container.removed_at is not None:
        return
    if job.state == JobState.SUCCEEDED:
        _succeeded(job, container)
    container.state = settled(container, pending_kinds([container.pk])[container.pk])
    container.save(update_fields=[*SHOWN, "removed_at"])


def _succeeded(job: Job, container: Container) -> None:
    at = clamped(job.finished_at or timezone.now())
    if job.kind == Kind.REMOVE:
        container.removed_at = timezone.now()
        container.host_state, container.addresses = "", []
        return
    if job.kind == Kind.CREATE:
        container.created = True
        container.autostart = bool(job.params.get("autostart"))
    if job.kind in {Kind.ENABLE, Kind.DISABLE}:
        container.autostart = job.kind == Kind.ENABLE
    if at >= container.state_at:
        _take_result(container, job.result, at)
    elif not container.host_state:
        container.host_state = MachineState.STOPPED


def _take_result(container: Container, result: dict[str, Any], at: Any) -> None:
    """What the job found at its end, unless the host has said something newer since."""
    state = result.get("state")
    if isinstance(state, str) and state in _MACHINE_STATES:
        container.host_state, container.state_at = state, at
    elif not container.host_state:
        container.host_state = MachineState.STOPPED
    addresses = result.get("addresses")
    if isinstance(addresses, list) and all(isinstance(one, str) for one in addresses):
        container.addresses = addresses[:32]
