"""Pages of jobs."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django import forms
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_GET, require_POST

from audit.http import AuthedRequest, page_links, query_without, render_page
from audit.paging import page_of
from contract.orders import Kind
from tasks.managers import UNFINISHED
from tasks.models import Job, JobState
from tasks.selectors import job_story
from tasks.services import job_cancel as cancel
from tasks.services import job_retry as retry
from teams.permissions import Permission, access_of

KINDS = [
    (Kind.CREATE, "Create"),
    (Kind.START, "Start"),
    (Kind.STOP, "Stop"),
    (Kind.RESTART, "Restart"),
    (Kind.KILL, "Kill"),
    (Kind.ENABLE, "Start with the host"),
    (Kind.DISABLE, "Do not start with the host"),
    (Kind.SET_PASSWORD, "Set password"),
    (Kind.REMOVE, "Remove"),
    (Kind.BUILD_IMAGE, "Build base image"),
    (Kind.INVENTORY, "Inventory"),
]
ORDER = ("-created_at", "-id")
DRAWER_MAX = 12


class JobFilter(forms.Form):
    state = forms.ChoiceField(
        required=False, choices=[("", "All states"), ("active", "Under way"), *JobState.choices], label="State"
    )
    kind = forms.ChoiceField(
        required=False, choices=[("", "All kinds"), *((kind.value, title) for kind, title in KINDS)], label="Kind"
    )
    mine = forms.BooleanField(required=False, label="Only mine")

    def lookups(self) -> dict[str, Any]:
        """Django lookups for what is chosen; a choice that does not exist is left out."""
        self.is_valid()
        state, kind = self.cleaned_data.get("state"), self.cleaned_data.get("kind")
        found: dict[str, Any] = {"kind": kind} if kind else {}
        if state == "active":
            found["state__in"] = UNFINISHED
        elif state:
            found["state"] = state
        return found


@require_GET
def job_list(request: AuthedRequest) -> HttpResponse:
    chosen = JobFilter(request.GET)
    found = Job.objects.visible_to(request.user).filter(**chosen.lookups())
    if mine := chosen.cleaned_data.get("mine"):
        found = found.filter(by=request.user)
    page = page_of(
        found.select_related("team"), ORDER, after=request.GET.get("after", ""), before=request.GET.get("before", "")
    )
    context = {
        "filter": chosen,
        "page": page,
        "narrow": bool(chosen.lookups() or mine),
        "links": page_links(request, page),
        "query": query_without(request, "part"),
    }
    return render_page(request, "tasks/job_list.html", context, parts={"rows"})


@require_GET
def job_running(request: AuthedRequest) -> HttpResponse:
    """The counter in the top bar, and the drawer behind it."""
    found = Job.objects.visible_to(request.user)
    context = {
        "running": list(found.unfinished().order_by("-created_at", "id")[:DRAWER_MAX]),
        "recent": list(found.exclude(state__in=UNFINISHED).order_by("-created_at", "id")[:5]),
    }
    return render(request, "components/jobs_drawer.html", context)


def job_or_404(request: AuthedRequest, pk: UUID) -> Job:
    found = Job.objects.visible_to(request.user).select_related("team", "retry_of")
    return get_object_or_404(found, pk=pk)


@require_GET
def job_detail(request: AuthedRequest, pk: UUID) -> HttpResponse:
    job = job_or_404(request, pk)
    access = access_of(request.user)
    context = {
        "job": job,
        "story": job_story(job),
        "retries": list(job.retries.order_by("created_at")[:10]),
        "can_cancel": access.allowed(Permission.JOB_CANCEL, job.team_id)
        and not job.is_over
        and job.cancel_requested_at is None,
        "can_retry": access.allowed(Permission.JOB_RETRY, job.team_id)
        and job.state in {JobState.FAILED, JobState.CANCELLED},
    }
    return render_page(request, "tasks/job_detail.html", context, parts={"live"})


@require_POST
def job_cancel(request: AuthedRequest, pk: UUID) -> HttpResponse:
    job = cancel(by=request.user, job=job_or_404(request, pk))
    if job.state == JobState.CANCELLED:
        messages.success(request, "The job is cancelled; it had not begun.")
    else:
        messages.info(request, "The host was asked to cancel. It cleans up what is half made first.")
    return redirect("job_detail", job.pk)


@require_POST
def job_retry(request: AuthedRequest, pk: UUID) -> HttpResponse:
    again = retry(by=request.user, job=job_or_404(request, pk))
    return redirect("job_detail", again.pk)
