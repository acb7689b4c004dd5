"""Pages of jobs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from django import forms
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST

from audit.http import AuthedRequest, page_links, query_without, render_page
from audit.paging import page_of
from contract.orders import Kind
from tasks.managers import UNFINISHED
from tasks.models import Job, JobState
from tasks.selectors import Story, job_story
from tasks.services import job_cancel as cancel
from tasks.services import job_declare_lost
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


def job_timeline(jobs: Iterable[Job]) -> list[dict[str, Any]]:
    """For components/timeline.html."""
    return [
        {
            "at": job.created_at,
            "title": job.title,
            "by": job.by_name,
            "state": job.shown_state,
            "url": reverse("job_detail", args=[job.pk]),
        }
        for job in jobs
    ]


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
    story = job_story(job)
    open_ = not job.is_over
    context = {
        "job": job,
        "story": story,
        "live": open_,
        "matters": lines_that_matter(story) if job.failure else [],
        "retries": list(job.retries.order_by("created_at")[:10]),
        "can_cancel": open_ and access.allowed(Permission.JOB_CANCEL, job.team_id),
        "can_retry": job.state in RETRIED and access.allowed(Permission.JOB_RETRY, job.team_id),
        "can_give_up": open_ and bool(story.waiting) and access.allowed(Permission.JOB_DECLARE_LOST),
        "cancel_url": reverse("job_cancel", args=[job.pk]),
        "give_up_url": reverse("job_give_up", args=[job.pk]),
        "download": f"job-{job.pk}.txt",
        "no_output": "It gave no output." if job.is_over else "Waiting for output…",
        **_cancel_words(job),
    }
    return render_page(request, "tasks/job_detail.html", context, parts={"head"})


RETRIED = (JobState.FAILED, JobState.CANCELLED)
MATTER = 3


def lines_that_matter(story: Story) -> list[str]:
    """The last lines of what failed: there the programs say why."""
    failed = next((step for step in story.steps if step.state == "failed" and step.lines), None)
    told = failed or next((step for step in reversed(story.steps) if step.lines), None)
    return [line for line in told.lines if line.strip()][-MATTER:] if told else []


def _cancel_words(job: Job) -> dict[str, str]:
    """What cancelling will do, or has done."""
    begun = job.state == JobState.RUNNING
    return {
        "cancel_says": f"{job.host_name} stops the work and cleans up what is half made."
        if begun
        else "It has not begun: it ends at once, and nothing happens on the host.",
        "cancelling": f"{job.cancel_by_name or 'Somebody'} cancelled it.",
        "cancelled_why": "What was half made has been cleaned up."
        if job.started_at
        else "It had not begun: nothing happened on the host.",
    }


@require_POST
def job_cancel(request: AuthedRequest, pk: UUID) -> HttpResponse:
    job = cancel(by=request.user, job=job_or_404(request, pk))
    if job.state == JobState.CANCELLED:
        messages.success(request, "The job is cancelled; it had not begun.")
    else:
        messages.info(request, "The host was asked to cancel. It cleans up what is half made first.")
    return redirect("job_detail", job.pk)


@require_POST
def job_give_up(request: AuthedRequest, pk: UUID) -> HttpResponse:
    """For a job whose host will never tell what became of it."""
    job = job_declare_lost(by=request.user, job=job_or_404(request, pk))
    messages.success(request, "The job counts as failed now.")
    return redirect("job_detail", job.pk)


@require_POST
def job_retry(request: AuthedRequest, pk: UUID) -> HttpResponse:
    again = retry(by=request.user, job=job_or_404(request, pk))
    return redirect("job_detail", again.pk)
