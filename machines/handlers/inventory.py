"""What a host has, against what the portal knows: the host is right."""

from __future__ import annotations

from datetime import datetime

from django.utils import timezone

from contract.live import ImageInfo, InventoryReport, MachineChanged, MachineInfo
from contract.names import RESERVED_PREFIX
from machines.handlers.states import SHOWN, apply_info, clamped, pending_kinds, settled
from machines.models import BaseImage, Container, DiscoveredMachine, Host
from tasks import notify


def inventory(host: Host, report: InventoryReport, received: datetime) -> None:
    """Everything on the host: states, what is missing, what nobody has claimed, base images, facts."""
    came = not host.is_online
    facts = report.facts.model_dump(mode="json")
    seen = max(filter(None, [host.last_seen, min(received, timezone.now())]))
    Host.objects.filter(pk=host.pk).update(facts=facts, last_seen=seen)
    changed = _machines(host, {info.name: info for info in report.machines}, clamped(report.at), whole=True)
    changed = _images(host, report.images) or changed
    if changed or came or facts != host.facts:
        notify.changed("hosts", f"host:{host.pk}")


def machine_changed(host: Host, message: MachineChanged) -> None:
    """One machine's state, as it changed."""
    infos = {message.name: message.info} if message.info else {}
    if _machines(host, infos, clamped(message.at), whole=False, gone="" if message.info else message.name):
        notify.changed(f"host:{host.pk}")


def _machines(host: Host, infos: dict[str, MachineInfo], at: datetime, *, whole: bool, gone: str = "") -> bool:
    """`whole`: what is not in `infos` is not there; else only `gone` is not. True if anything is different now."""
    rows = Container.objects.standing().filter(host=host)
    if not whole:
        rows = rows.filter(name__in=[*infos, gone] if gone else list(infos))
    containers = {row.name: row for row in rows.select_for_update().order_by("pk")}
    strangers = set(DiscoveredMachine.objects.filter(host=host).values_list("name", flat=True))
    pending = pending_kinds(row.pk for row in containers.values())
    claimed = set()
    seen: list[Container] = []
    changed: list[Container] = []
    for name, container in containers.items():
        info = infos.get(name)
        under_way = pending.get(container.pk, set())
        if container.created or info is None or (info.managed and name not in strangers):
            claimed.add(name)
            if at >= container.state_at:
                (changed if _take_over(container, info, at, under_way) else seen).append(container)
        elif under_way:
            claimed.add(name)  # half made: no longer a stranger's, not yet ours
    _save(changed, seen, at)
    unclaimed = {name: info for name, info in infos.items() if name not in claimed}
    return _discover(host, unclaimed, strangers, whole=whole, gone=gone) or bool(changed)


def _take_over(container: Container, info: MachineInfo | None, at: datetime, pending: set[str]) -> bool:
    """Take over what the host says of one container. True if something is different now."""
    before = {name: getattr(container, name) for name in SHOWN if name != "state_at"}
    apply_info(container, info)
    if info is not None and not pending:
        container.created = True
    container.state_at = at
    container.state = settled(container, pending)
    return any(getattr(container, name) != value for name, value in before.items())


def _save(changed: list[Container], seen: list[Container], at: datetime) -> None:
    """Most inventories bring nothing new: then it is one statement for all."""
    if changed:
        Container.objects.bulk_update(changed, SHOWN, batch_size=100)
        notify.changed("containers", *(f"container:{row.pk}" for row in changed))
    if seen:
        Container.objects.filter(pk__in=[row.pk for row in seen]).update(state_at=at)


def _discover(host: Host, found: dict[str, MachineInfo], known: set[str], *, whole: bool, gone: str) -> bool:
    """Machines that nobody has claimed. Scratch copies and base images of the agent are not machines to a person."""
    found = {name: info for name, info in found.items() if not name.startswith((RESERVED_PREFIX, "."))}
    lost = known - found.keys() if whole else known & {gone}
    if lost:
        DiscoveredMachine.objects.filter(host=host, name__in=lost).delete()
    for name, info in found.items():
        DiscoveredMachine.objects.update_or_create(
            host=host, name=name, defaults={"info": info.model_dump(mode="json")}
        )
    return bool(lost or found.keys() - known)


def _images(host: Host, images: list[ImageInfo]) -> bool:
    before = set(BaseImage.objects.filter(host=host).values_list("name", "fingerprint"))
    now = {(image.name, image.fingerprint) for image in images}
    BaseImage.objects.filter(host=host).exclude(name__in=[image.name for image in images]).delete()
    for image in images:
        values = {
            "slug": image.slug,
            "fingerprint": image.fingerprint,
            "built_at": clamped(image.built),
            "bytes": image.bytes,
        }
        BaseImage.objects.update_or_create(host=host, name=image.name, defaults=values)
    return before != now
