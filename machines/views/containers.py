"""The list of containers over all hosts."""

from __future__ import annotations

from contextlib import suppress
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.db.models import QuerySet
from django.http import HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_GET, require_POST

from audit.http import AuthedRequest, page_links, query_without, render_page
from audit.paging import page_of
from machines.acts import ACTS, BULK, Act, bulk_run
from machines.forms.container import ConfirmForm, ContainerFilter
from machines.models import Container, Host
from machines.selectors import container_list as find_containers
from teams.models import Team
from teams.permissions import Permission, teams_with

SORTS = {
    "name": ("name", "id"),
    "-name": ("-name", "-id"),
    "state": ("state", "id"),
    "-state": ("-state", "-id"),
    "age": ("-created_at", "-id"),
    "-age": ("created_at", "id"),
}
TEMPLATE = "machines/container_list.html"
BULK_MAX = 200


def _filter(request: AuthedRequest) -> ContainerFilter:
    return ContainerFilter(
        request.GET,
        hosts=Host.objects.visible_to(request.user).enrolled(),
        teams=teams_with(request.user, Permission.CONTAINER_VIEW),
    )


@require_GET
def container_list(request: AuthedRequest) -> HttpResponse:
    chosen = _filter(request)
    sort = request.GET.get("sort", "name")
    found = find_containers(request.user, **chosen.values())
    page = page_of(
        found,
        SORTS.get(sort, SORTS["name"]),
        after=request.GET.get("after", ""),
        before=request.GET.get("before", ""),
    )
    total = found.count()
    context: dict[str, Any] = {
        "filter": chosen,
        "page": page,
        "sort": sort,
        "shown": f"{total} container{'' if total == 1 else 's'}",
        "narrow": chosen.is_narrow,
        "links": page_links(request, page),
        "query": query_without(request, "part"),
        "unsorted": query_without(request, "after", "before", "part", "sort"),
        "bulk": [ACTS[key] for key in BULK],
        "can_create": teams_with(request.user, Permission.CONTAINER_CREATE).exists(),
        "has_hosts": Host.objects.visible_to(request.user).enrolled().exists(),
        "teams_many": Team.objects.count() > 1,
    }
    return render_page(request, TEMPLATE, context, parts={"rows"})


@require_POST
def container_bulk(request: AuthedRequest) -> HttpResponse:
    """One act on the ticked rows. Removal first shows what will be lost, and asks for `remove N`."""
    act = ACTS.get(request.POST.get("act", ""))
    ids = request.POST.getlist("id")[:BULK_MAX]
    chosen = list(_chosen(request, ids))
    if act is None or act.key not in BULK or not chosen:
        messages.warning(request, "Nothing was changed: tick the containers first, then press a button.")
        return redirect("container_list")
    if act.danger:
        wanted = f"remove {len(chosen)}"
        confirm = ConfirmForm(request.POST if "confirm" in request.POST else None, wanted=wanted)
        if not confirm.is_valid():
            context = {"chosen": chosen, "form": confirm, "act": act, "wanted": wanted}
            status = 422 if confirm.is_bound else 200
            return render_page(request, "machines/container_bulk_remove.html", context, status=status)
    _say(request, act, chosen)
    return redirect("container_list")


def _chosen(request: AuthedRequest, ids: list[str]) -> QuerySet[Container]:
    found = Container.objects.visible_to(request.user).standing().filter(pk__in=_uuids(ids))
    return found.select_related("host", "team").order_by("name")


def _uuids(values: list[str]) -> list[UUID]:
    found = []
    for value in values:
        with suppress(ValueError):  # not from our page: as good as unknown
            found.append(UUID(value))
    return found


def _say(request: AuthedRequest, act: Act, chosen: list[Container]) -> None:
    jobs, refused = bulk_run(by=request.user, act=act, chosen=chosen)
    if jobs:
        messages.success(request, f"{act.verb}: {len(jobs)} container{'s' if len(jobs) > 1 else ''} under way.")
    for container, why in refused[:5]:
        messages.error(request, f"{container.name}: {why}")
    if len(refused) > 5:
        messages.error(request, f"… and {len(refused) - 5} more could not be done.")
