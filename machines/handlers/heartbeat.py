"""Heartbeats: the host lives, and samples for the charts."""

from __future__ import annotations

from datetime import datetime

from django.utils import timezone

from contract.live import Heartbeat
from machines.models import Container, ContainerSample, Host, HostSample
from tasks import notify


def heartbeat(host: Host, message: Heartbeat, received: datetime) -> None:
    """One read twice (the relay was restarted) changes nothing."""
    received = min(received, timezone.now())
    if host.last_seen is not None and received < host.last_seen:
        return
    if HostSample.objects.filter(host=host, at=received).exists():
        return
    came = not host.is_online
    metrics = message.metrics.model_dump(mode="json")
    Host.objects.filter(pk=host.pk).update(last_seen=received, metrics=metrics)
    HostSample.objects.create(host=host, at=received, data=metrics)
    if message.containers:
        names = Container.objects.standing().filter(host=host, name__in=list(message.containers))
        ContainerSample.objects.bulk_create(
            ContainerSample(container_id=pk, at=received, data=message.containers[name].model_dump(mode="json"))
            for pk, name in names.values_list("pk", "name")
        )
    if came:
        notify.changed("hosts", f"host:{host.pk}", "containers", "jobs")
