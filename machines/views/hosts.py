"""Hosts: the list, one host, and how a new one comes in."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.db.models import Count, Q
from django.http import HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from audit.http import AuthedRequest, render_page
from machines.charts import host_series
from machines.forms.container import ConfirmForm
from machines.forms.host import AdoptForm, HostAddForm
from machines.models import BaseImage, Container, EnrolmentToken, Host, Release
from machines.services import containers, enrolment, hosts
from machines.templatetags.ui import size
from machines.views.container import minutes_of
from machines.views.create import add_error
from tasks.managers import UNFINISHED
from tasks.models import Job
from tasks.views import job_timeline
from teams.errors import PortalError
from teams.models import Team
from teams.permissions import Permission, access_of, require, teams_with

STANDING = Q(containers__removed_at__isnull=True)


def host_or_404(request: AuthedRequest, pk: UUID) -> Host:
    return get_object_or_404(Host.objects.visible_to(request.user), pk=pk)


@require_GET
def host_list(request: AuthedRequest) -> HttpResponse:
    found = Host.objects.visible_to(request.user).annotate(
        container_count=Count("containers", filter=STANDING),
        running_count=Count("containers", filter=STANDING & Q(containers__state="running")),
    )
    context = {
        "rows": [_row(host) for host in sorted(found, key=lambda host: (host.revoked_at is not None, host.name))],
        "can_manage": access_of(request.user).allowed(Permission.HOST_MANAGE),
    }
    return render_page(request, "machines/host_list.html", context, parts={"rows"})


def host_state(host: Host) -> str:
    """online, offline, revoked, or waiting (not yet enrolled)."""
    if host.revoked_at is not None:
        return "revoked"
    if host.enrolled_at is None:
        return "waiting"
    return "online" if host.is_online else "offline"


def _row(host: Host) -> dict[str, Any]:
    failing = sum(check.get("result") == "fail" for check in host.facts.get("checks") or [])
    words = f"{failing} check{'s' if failing > 1 else ''} fail{'' if failing > 1 else 's'}" if failing else ""
    used, whole = host.metrics.get("memory_used_bytes"), host.facts.get("memory_bytes")
    return {
        "host": host,
        "state": host_state(host),
        "failing": words,
        "os": str(host.facts.get("os") or "").replace("GNU/Linux ", ""),
        "memory": f"{round(100 * used / whole)} % of {size(whole)}" if used and whole else "",
    }


@require_GET
def host_detail(request: AuthedRequest, pk: UUID) -> HttpResponse:
    return _host_page(request, host_or_404(request, pk))


def _host_page(
    request: AuthedRequest, host: Host, *, revoke: ConfirmForm | None = None, status: int = 200
) -> HttpResponse:
    access = access_of(request.user)
    manage = access.allowed(Permission.HOST_MANAGE)
    standing = Container.objects.visible_to(request.user).standing().filter(host=host)
    context: dict[str, Any] = {
        "host": host,
        "state": host_state(host),
        "offline": f"Host {host.name} is offline.",
        "booted": parse_datetime(str(host.facts.get("boot_time") or "")),
        "metrics_url": reverse("host_metrics", args=[host.pk]),
        "revoke_url": reverse("host_revoke", args=[host.pk]),
        "revoke_title": f"Revoke {host.name}?",
        "can_create": host.revoked_at is None and teams_with(request.user, Permission.CONTAINER_CREATE).exists(),
        "can_manage": manage,
        "can_build": access.allowed(Permission.IMAGE_BUILD),
        **_checks(host),
        "images": _images(host),
        "containers": list(standing.select_related("team", "owner").order_by("name")[:50]),
        "container_count": standing.count(),
        "jobs": job_timeline(
            Job.objects.visible_to(request.user).filter(host_id=host.pk).order_by("-created_at", "id")[:8]
        ),
        "discovered": list(host.discovered.all()) if manage else [],
        "teams": list(Team.objects.all()) if manage else [],
        "revoke_form": revoke or ConfirmForm(wanted=host.name),
    }
    return render_page(request, "machines/host_detail.html", context, parts={"head", "images"}, status=status)


def _checks(host: Host) -> dict[str, Any]:
    """The doctor's lines: what is wrong and how to mend it, the worst first, and what is fine."""
    checks = host.facts.get("checks") or []
    wrong = sorted(
        (check for check in checks if check.get("result") != "ok"), key=lambda check: check["result"] != "fail"
    )
    problems = [
        {
            "tone": "bad" if check["result"] == "fail" else "warn",
            "what": f"{check['title']}: {check['found']}",
            "why": f"Wanted: {check['wanted']}",
            "mend": check.get("mend", ""),
        }
        for check in wrong
    ]
    return {"problems": problems, "fine": [check for check in checks if check.get("result") == "ok"]}


def _images(host: Host) -> list[dict[str, Any]]:
    """Every release, with the image that the host has of it and the build that is under way."""
    built = {image.slug: image for image in BaseImage.objects.filter(host=host).order_by("built_at")}
    building = Job.objects.filter(host_id=host.pk, kind="image.build", state__in=UNFINISHED)
    jobs = {job.params.get("release", {}).get("slug"): job for job in building}
    return [
        {"release": release, "image": built.get(release.slug), "job": jobs.get(release.slug)}
        for release in Release.objects.active()
    ]


@require_GET
def host_metrics(request: AuthedRequest, pk: UUID) -> JsonResponse:
    return JsonResponse(host_series(host_or_404(request, pk), minutes_of(request)))


@require_POST
def image_build(request: AuthedRequest, pk: UUID) -> HttpResponse:
    host = host_or_404(request, pk)
    release = get_object_or_404(Release.objects.active(), slug=request.POST.get("release", ""))
    job = hosts.image_build(by=request.user, host=host, release=release, rebuild="rebuild" in request.POST)
    return redirect("job_detail", job.pk)


@require_POST
def host_adopt(request: AuthedRequest, pk: UUID) -> HttpResponse:
    host = host_or_404(request, pk)
    require(request.user, Permission.HOST_MANAGE)
    form = AdoptForm(request.POST, host=host)
    if not form.is_valid():
        messages.error(request, "Nothing was adopted: pick one of the containers of this host, and a team for it.")
        return redirect("host_detail", host.pk)
    container = containers.container_adopt(
        by=request.user, discovered=form.cleaned_data["machine"], team=form.cleaned_data["team"]
    )
    messages.success(request, f"{container.name} now belongs to {container.team}.")
    return redirect("container_detail", container.pk)


@require_POST
def host_revoke(request: AuthedRequest, pk: UUID) -> HttpResponse:
    host = host_or_404(request, pk)
    require(request.user, Permission.HOST_MANAGE)
    form = ConfirmForm(request.POST, wanted=host.name)
    if not form.is_valid():
        return _host_page(request, host, revoke=form, status=422)
    hosts.host_revoke(by=request.user, host=host)
    messages.success(request, f"{host.name} is revoked: its agent can no longer connect.")
    return redirect("host_list")


@require_http_methods(["GET", "POST"])
def host_add(request: AuthedRequest) -> HttpResponse:
    """The name, then the line to paste. The line is shown in this answer alone; only its hash is kept."""
    require(request.user, Permission.HOST_MANAGE)
    form, refused = HostAddForm(request.POST if request.method == "POST" else None), None
    if form.is_valid():
        try:
            token, plain = enrolment.token_create(by=request.user, host_name=form.cleaned_data["name"])
            line = enrolment.install_line(plain)
        except PortalError as error:
            refused = add_error(form, error)
        else:
            context = {"token": token, "line": line}
            return render_page(request, "machines/host_add.html", context)
    status = 422 if form.is_bound else 200
    return render_page(request, "machines/host_add.html", {"form": form, "refused": refused}, status=status)


@require_GET
def host_waiting(request: AuthedRequest, token_id: int) -> HttpResponse:
    """Whether the new host has come: the page asks at every word of hosts, and goes on to the host when it is there."""
    require(request.user, Permission.HOST_MANAGE)
    token = get_object_or_404(EnrolmentToken.objects.select_related("host"), pk=token_id)
    if token.host is not None and token.host.is_online:
        response = HttpResponse(status=204)
        response["HX-Redirect"] = reverse("host_detail", args=[token.host.pk])
        return response
    return render(
        request, "machines/host_add.html#waiting", {"token": token, "expired": token.expires_at < timezone.now()}
    )
