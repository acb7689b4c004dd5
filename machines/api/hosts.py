"""`hosts` and `releases`: where containers can be, and what of."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from django.http import HttpRequest, HttpResponse
from ninja import Router

from machines.api.auth import caller
from machines.api.paging import Cursor, Limit, Page, page, page_rows, reply
from machines.api.schemas import HostOut, ReleaseOut
from machines.models import BaseImage, Host, Release

router = Router(tags=["hosts"])

_FACTS = ("os", "arch", "kernel", "systemd", "agent_version", "cpus", "memory_bytes", "pool_fs", "pool_bytes")
_METRICS = ("load1", "memory_used_bytes", "pool_free_bytes")


def _host(host: Host) -> HostOut:
    facts = {key: host.facts[key] for key in _FACTS if host.facts.get(key) is not None}
    metrics = {key: host.metrics.get(key) for key in _METRICS} if host.is_online else {}
    return HostOut(id=host.pk, name=host.name, online=host.is_online, last_seen=host.last_seen, **facts, **metrics)


def _host_row(row: dict[str, Any]) -> HostOut:
    return _host(Host(**row))


@router.get("/hosts", response=Page[HostOut], summary="Hosts")
def host_list(request: HttpRequest, limit: Limit, cursor: Cursor) -> HttpResponse:
    """The enrolled hosts, by name. Figures of use are there only while a host is online."""
    found = Host.objects.visible_to(caller(request)).filter(enrolled_at__isnull=False, revoked_at__isnull=True)
    rows = page_rows(found, ("name", "id"), ("last_seen", "facts", "metrics"), {}, cursor=cursor, limit=limit)
    return reply(page(rows, _host_row, HostOut))


@router.get("/releases", response=Page[ReleaseOut], summary="Releases")
def release_list(request: HttpRequest) -> HttpResponse:
    """What containers can be made of. There are few: always one page."""
    visible = dict(Host.objects.visible_to(caller(request)).values_list("pk", "name"))
    built = defaultdict(set)
    for slug, host in BaseImage.objects.filter(host__in=visible).values_list("slug", "host_id"):
        built[slug].add(visible[host])
    items = [_release(release, sorted(built[release.slug])) for release in Release.objects.active()]
    return reply(Page[ReleaseOut](items=items))


def _release(release: Release, built_on: list[str]) -> ReleaseOut:
    return ReleaseOut(
        slug=release.slug,
        title=release.title,
        distribution=release.distribution,
        suite=release.suite,
        variant=release.variant,
        packages=list(release.packages),
        built_on=built_on,
    )
