"""A container's state, from what the host says and what is being done."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime
from uuid import UUID

from django.utils import timezone

from contract.live import MachineInfo
from contract.orders import Kind
from machines.models import Container, ContainerState
from tasks.models import Job

S = ContainerState
SHOWN = ("state", "host_state", "state_at", "created", "autostart", "addresses", "os", "started_at", "image_bytes")


def clamped(at: datetime) -> datetime:
    """The host's time, but never later than ours: one whose clock was fast must not keep its later words out."""
    return min(at if at.tzinfo else timezone.make_aware(at, timezone.get_default_timezone()), timezone.now())


def pending_kinds(container_ids: Iterable[UUID]) -> dict[UUID, set[str]]:
    """Which creating and removing jobs are under way, by container."""
    found: dict[UUID, set[str]] = defaultdict(set)
    rows = Job.objects.unfinished().filter(container_id__in=list(container_ids), kind__in=[Kind.CREATE, Kind.REMOVE])
    for container_id, kind in rows.order_by().values_list("container_id", "kind"):
        if container_id is not None:
            found[container_id].add(kind)
    return found


def settled(container: Container, pending: set[str]) -> str:
    """The state to show."""
    if Kind.CREATE in pending:
        return S.CREATING
    if Kind.REMOVE in pending:
        return S.REMOVING
    if not container.created:
        return S.FAILED
    return container.host_state or S.MISSING


def apply_info(container: Container, info: MachineInfo | None) -> None:
    """Take over what the host says of the machine (None: it has none); the caller settles the state and saves."""
    container.host_state = info.state.value if info else ""
    if info is None:
        container.addresses, container.started_at = [], None
        return
    container.autostart = info.enabled
    container.addresses = info.addresses
    container.os = info.os or container.os
    container.started_at = info.started
    if info.image_bytes is not None:
        container.image_bytes = info.image_bytes
