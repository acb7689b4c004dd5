"""The page of one container: its tabs and its acts."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import Http404, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, redirect
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_GET, require_POST
from django_htmx.http import trigger_client_event

from audit.http import AuthedRequest, render_page
from audit.models import AuditEvent
from contract.orders import Kind
from machines.acts import ACTS, UP, act_url, offers
from machines.charts import container_series
from machines.forms.container import ConfirmForm, PasswordForm
from machines.models import Container
from machines.services import containers
from machines.views.create import add_error
from tasks.live import tickets
from tasks.models import Job, JobState
from tasks.selectors import job_story
from tasks.views import job_timeline
from teams.errors import PortalError
from teams.permissions import Permission, access_of

TEMPLATE = "machines/container_detail.html"
TABS = (
    ("overview", "Overview", "container_detail"),
    ("terminal", "Terminal", "container_terminal"),
    ("journal", "Journal", "container_journal"),
    ("settings", "Settings", "container_settings"),
    ("history", "History", "container_history"),
)
PARTS = {"head", "overview"}
IN_HEADER = ("start", "stop")
"""Acts with a button of their own; the others are under More."""
FRESH = timedelta(minutes=10)


def container_or_404(request: AuthedRequest, pk: UUID) -> Container:
    """What one may not see is not there. A removed one keeps its page: its jobs and its trail."""
    found = Container.objects.visible_to(request.user).select_related("host", "team", "owner", "release")
    return get_object_or_404(found, pk=pk)


def _jobs(request: AuthedRequest, container: Container) -> Any:
    return Job.objects.visible_to(request.user).filter(container_id=container.pk)


def _context(request: AuthedRequest, container: Container, tab: str) -> dict[str, Any]:
    """What the header needs; each tab adds its own."""
    active = _jobs(request, container).unfinished().order_by("created_at").first()
    access = access_of(request.user)
    team, owner = container.team_id, container.owner_id
    standing = container.removed_at is None
    acts = offers(access, container)
    return {
        "container": container,
        "tab": tab,
        "tabs": TABS,
        "active_job": active,
        "acts": acts,
        "more": [act for key, act in acts.items() if key not in IN_HEADER],
        "can_operate": standing and access.allowed(Permission.CONTAINER_OPERATE, team),
        "can_terminal": standing and access.allowed(Permission.CONTAINER_TERMINAL, team),
        "can_remove": standing and access.allowed(Permission.CONTAINER_REMOVE, team, owner),
    }


@require_GET
def container_detail(request: AuthedRequest, pk: UUID) -> HttpResponse:
    container = container_or_404(request, pk)
    context = _context(request, container, "overview")
    active = context["active_job"]
    last_jobs = list(_jobs(request, container).order_by("-created_at", "id")[:6])
    context |= {
        "story": job_story(active) if active else None,
        "last_jobs": job_timeline(last_jobs),
        "metrics_url": reverse("container_metrics", args=[container.pk]),
        **_outcome(container, last_jobs[0] if last_jobs else None),
    }
    return render_page(request, TEMPLATE, context, parts=PARTS)


def _outcome(container: Container, last: Job | None) -> dict[str, Any]:
    """What the last job left to say: why it failed, or that the container has just been made."""
    if last is None or last.finished_at is None:
        return {}
    if last.state == JobState.FAILED:
        return {"failure": last.failure or {}, "failed_url": reverse("job_detail", args=[last.pk])}
    fresh = last.kind == Kind.CREATE and timezone.now() - last.finished_at < FRESH and container.state in UP
    if not fresh or last.state != JobState.SUCCEEDED:
        return {}
    return {"fresh": f"{container.name} is made and {container.get_state_display().lower()}."}


@require_GET
def container_terminal(request: AuthedRequest, pk: UUID) -> HttpResponse:
    container = container_or_404(request, pk)
    context = _context(request, container, "terminal") | {
        "up": UP,
        "ticket_url": reverse("terminal_ticket", args=[container.pk]),
    }
    return render_page(request, TEMPLATE, context, parts=PARTS)


@require_GET
def container_journal(request: AuthedRequest, pk: UUID) -> HttpResponse:
    container = container_or_404(request, pk)
    context = _context(request, container, "journal") | {
        "journal_path": f"/ws/containers/{container.pk}/journal/",
        "journal_file": f"{container.name}-journal.txt",
    }
    return render_page(request, TEMPLATE, context, parts=PARTS)


@require_GET
def container_settings(request: AuthedRequest, pk: UUID) -> HttpResponse:
    return _settings(request, container_or_404(request, pk))


def _settings(
    request: AuthedRequest,
    container: Container,
    *,
    password: PasswordForm | None = None,
    remove: ConfirmForm | None = None,
    refused: PortalError | None = None,
) -> HttpResponse:
    context = _context(request, container, "settings") | {
        "refused": refused,
        "password_form": password or PasswordForm(),
        "remove_form": remove or ConfirmForm(wanted=container.name),
        "remove_url": act_url(container, "remove"),
        "remove_title": f"Remove {container.name}?",
        "autostart_url": act_url(container, "disable" if container.autostart else "enable"),
    }
    return render_page(request, TEMPLATE, context, parts=PARTS, status=422 if password or remove else 200)


@require_GET
def container_history(request: AuthedRequest, pk: UUID) -> HttpResponse:
    container = container_or_404(request, pk)
    context = _context(request, container, "history") | {
        "jobs": list(_jobs(request, container).order_by("-created_at", "id")[:50]),
        "trail": _trail(request, container),
    }
    return render_page(request, TEMPLATE, context, parts=PARTS)


def _trail(request: AuthedRequest, container: Container) -> list[AuditEvent] | None:
    """What the audit trail says of it; None for those who may not read the trail."""
    if not access_of(request.user).allowed(Permission.AUDIT_VIEW, container.team_id):
        return None
    return list(AuditEvent.objects.filter(object_type="container", object_id=str(container.pk))[:50])


@require_POST
def container_act(request: AuthedRequest, pk: UUID, act: str) -> HttpResponse:
    """Asks the host to do it. Removal wants the name typed."""
    container = container_or_404(request, pk)
    chosen = ACTS.get(act)
    if chosen is None:
        raise Http404
    if act == "remove":
        confirm = ConfirmForm(request.POST, wanted=container.name)
        if not confirm.is_valid():
            return _settings(request, container, remove=confirm)
    job = chosen.run(by=request.user, container=container)
    return done(request, container, job)


def done(request: AuthedRequest, container: Container, job: Job) -> HttpResponse:
    """Back to where the person was; htmx swaps the header alone, so that an open terminal stays."""
    if request.htmx:
        container.refresh_from_db()
        head = render_page(request, f"{TEMPLATE}#head", _context(request, container, "overview"))
        link = {"url": reverse("job_detail", args=[job.pk]), "label": "Show job"}
        return trigger_client_event(head, "toast", {"text": f"{job.title}: under way.", "level": "success"} | link)
    messages.success(request, f"{job.title}: under way.", extra_tags=f"job:{job.pk}")
    return redirect("container_detail", container.pk)


@require_POST
def container_password(request: AuthedRequest, pk: UUID) -> HttpResponse:
    container = container_or_404(request, pk)
    form, refused = PasswordForm(request.POST), None
    if form.is_valid():
        try:
            job = containers.container_set_password(
                by=request.user, container=container, password=form.cleaned_data["root_password"]
            )
        except PortalError as error:
            if error.status in {403, 404}:
                raise
            refused = add_error(form, error)
        else:
            messages.success(request, f"{job.title}: under way.", extra_tags=f"job:{job.pk}")
            return redirect("container_settings", container.pk)
    return _settings(request, container, password=form, refused=refused)


@require_GET
def container_metrics(request: AuthedRequest, pk: UUID) -> JsonResponse:
    container = container_or_404(request, pk)
    return JsonResponse(container_series(container, minutes_of(request)))


def minutes_of(request: AuthedRequest) -> int:
    value = request.GET.get("minutes", "60")
    return int(value) if value.isdecimal() and len(value) < 6 else 60


@require_POST
def terminal_ticket(request: AuthedRequest, pk: UUID) -> JsonResponse:
    """A ticket is good once, for this person in this browser, for a few seconds. `session` re-attaches."""
    container = container_or_404(request, pk)
    issued = tickets.issue(
        by=request.user,
        container=container,
        session_key=request.session.session_key or "",
        session=request.POST.get("session", ""),
    )
    return JsonResponse(issued)
