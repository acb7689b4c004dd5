"""The first page: what is mine, what is wrong, what runs now."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.contrib.auth.models import User
from django.http import HttpResponse
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_GET

from audit.http import AuthedRequest, render_page
from machines.models import BaseImage, Container, ContainerState, Host
from tasks.managers import UNFINISHED
from tasks.models import Job, JobState, TerminalSession
from teams.permissions import Permission, access_of, teams_with

WRONG = [ContainerState.FAILED, ContainerState.DEGRADED, ContainerState.MISSING]
SHOWN = 8


@dataclass(frozen=True)
class FirstStep:
    """A line of the checklist; it ticks itself off, and the first one not done offers its `url`."""

    title: str
    text: str
    done: bool
    url: str
    verb: str


@require_GET
def dashboard(request: AuthedRequest) -> HttpResponse:
    user = request.user
    standing = Container.objects.visible_to(user).standing().select_related("host", "team")
    mine = standing.filter(owner=user)
    jobs = Job.objects.visible_to(user)
    context: dict[str, Any] = {
        "first_steps": first_steps(user),
        "mine": list(mine.order_by("-created_at", "id")[:SHOWN]),
        "mine_count": mine.count(),
        "wrong": _wrong(request, standing),
        "jobs_now": list(jobs.unfinished().order_by("-created_at", "id")[:SHOWN]),
        "jobs_last": list(jobs.exclude(state__in=UNFINISHED).order_by("-created_at", "id")[:5]),
        "can_create": teams_with(user, Permission.CONTAINER_CREATE).exists(),
    }
    return render_page(request, "machines/dashboard.html", context, parts={"live"})


def _wrong(request: AuthedRequest, standing: Any) -> dict[str, Any]:
    """Containers, hosts and one's own jobs that want a look."""
    hosts = Host.objects.visible_to(request.user).enrolled()
    day = timezone.now() - timedelta(days=1)
    failed = Job.objects.visible_to(request.user).filter(
        by=request.user, state=JobState.FAILED, finished_at__gte=day, retries__isnull=True
    )
    found = {
        "containers": list(standing.filter(state__in=WRONG).order_by("name")[:SHOWN]),
        "hosts": [host for host in hosts if not host.is_online or _failing(host)][:SHOWN],
        "jobs": list(failed.order_by("-created_at", "id")[:SHOWN]),
    }
    return found | {"count": sum(len(rows) for rows in found.values())}


def _failing(host: Host) -> bool:
    return any(check.get("result") == "fail" for check in host.facts.get("checks") or [])


def first_steps(user: User) -> list[FirstStep]:
    """The way from an empty portal to a shell; empty once it has been walked."""
    operator = access_of(user).allowed(Permission.HOST_MANAGE)
    has_host = Host.objects.enrolled().exists()
    created = Container.objects.visible_to(user).exists()
    picked = created or BaseImage.objects.exists()
    latest = Container.objects.visible_to(user).standing().order_by("-created_at").first()
    opened = TerminalSession.objects.filter(user=user).exists()
    create = reverse("container_create")
    shell = reverse("container_terminal", args=[latest.pk]) if latest else create
    if has_host and created and opened:
        return []
    return [
        FirstStep(
            "Enrol a host",
            "Paste one line on a Linux server with systemd." if operator else "Ask an operator to enrol one.",
            has_host,
            reverse("host_add") if operator else "",
            "Add host",
        ),
        FirstStep("Pick a release", "Debian or Ubuntu; its base image is built once a host.", picked, create, "Pick"),
        FirstStep("Create a container", "A clone of the image: about a second.", created, create, "Create container"),
        FirstStep("Open a shell", "In the browser, as root of the container.", opened, shell, "Open terminal"),
    ]
