"""What the command palette finds: containers, hosts, jobs, pages, and acts such as `start web1`."""

from __future__ import annotations

from typing import Any

from django.http import JsonResponse
from django.urls import reverse
from django.views.decorators.http import require_GET

from audit.http import AuthedRequest
from audit.readers import scope_of
from machines.acts import ACTS, may
from machines.models import Container, Host
from machines.selectors import container_list
from tasks.models import Job, JobState
from teams.permissions import Permission, access_of, teams_with

EACH = 6
VERBS = ("start", "stop", "restart")
"""Acts that need no second thought; the others have their place on the container's page."""

Result = dict[str, Any]


@require_GET
def search(request: AuthedRequest) -> JsonResponse:
    query = " ".join(request.GET.get("q", "")[:100].split())
    results = [*_acts(request, query), *_pages(request, query)]
    if query:
        results = [*_containers(request, query), *results, *_hosts(request, query), *_jobs(request, query)]
    return JsonResponse({"q": query, "results": results})


def _result(
    group: str, title: str, url: str, *, icon: str, hint: str = "", state: str = "", method: str = "get"
) -> Result:
    """`method` post: the palette sends the page's CSRF token with it."""
    return {"group": group, "title": title, "hint": hint, "url": url, "icon": icon, "state": state, "method": method}


def _containers(request: AuthedRequest, query: str) -> list[Result]:
    found = container_list(request.user, q=query)[:EACH]
    return [
        _result(
            "Containers",
            container.name,
            reverse("container_detail", args=[container.pk]),
            hint=f"on {container.host.name} · {container.team.name}",
            icon="box",
            state=container.state,
        )
        for container in found
    ]


def _acts(request: AuthedRequest, query: str) -> list[Result]:
    """`start we` offers to start web1 and web2 where that makes sense; `term web1` and `journal web1` open the tab."""
    verb, _, name = query.lower().partition(" ")
    if not name:
        return []
    access = access_of(request.user)
    found = list(container_list(request.user).filter(name__icontains=name)[:EACH])
    results = [
        _result(
            "Acts",
            f"{ACTS[key].verb} {container.name}",
            reverse("container_act", args=[container.pk, key]),
            hint=f"on {container.host.name}",
            icon=ACTS[key].icon,
            method="post",
        )
        for key in VERBS
        if key.startswith(verb)
        for container in found
        if may(access, container, ACTS[key])
    ]
    for tab, title in (("terminal", "Open terminal of"), ("journal", "Open journal of")):
        if tab.startswith(verb):
            results += [
                _result("Acts", f"{title} {one.name}", _tab(one, tab), hint=f"on {one.host.name}", icon=TAB_ICONS[tab])
                for one in found
            ]
    return results


TAB_ICONS = {"terminal": "square-terminal", "journal": "scroll-text"}


def _tab(container: Container, tab: str) -> str:
    return reverse(f"container_{tab}", args=[container.pk])


def _pages(request: AuthedRequest, query: str) -> list[Result]:
    """Pages whose name holds every word of the query; all of them for an empty one."""
    access, creates = access_of(request.user), teams_with(request.user, Permission.CONTAINER_CREATE).exists()
    pages = [
        ("New container", "container_create", "plus", creates),
        ("Dashboard", "dashboard", "layout-dashboard", True),
        ("Containers", "container_list", "box", True),
        ("Jobs", "job_list", "list-checks", True),
        ("Hosts", "host_list", "server", True),
        ("Add host", "host_add", "plus", access.allowed(Permission.HOST_MANAGE)),
        ("Teams", "team_list", "users", True),
        ("Audit", "audit_list", "shield-check", scope_of(request.user) != frozenset()),
        ("Profile and API tokens", "profile", "user", True),
    ]
    words = query.lower().split()
    return [
        _result("Pages", title, reverse(name), icon=icon)
        for title, name, icon, shown in pages
        if shown and all(word in title.lower() for word in words)
    ]


def _hosts(request: AuthedRequest, query: str) -> list[Result]:
    found = Host.objects.visible_to(request.user).enrolled().filter(name__icontains=query)[:EACH]
    return [
        _result(
            "Hosts",
            host.name,
            reverse("host_detail", args=[host.pk]),
            icon="server",
            state="online" if host.is_online else "offline",
        )
        for host in found
    ]


def _jobs(request: AuthedRequest, query: str) -> list[Result]:
    found = Job.objects.visible_to(request.user).filter(title__icontains=query).order_by("-created_at", "id")[:EACH]
    return [
        _result(
            "Jobs",
            job.title,
            reverse("job_detail", args=[job.pk]),
            hint=f"by {job.by_name}",
            icon="list-checks",
            state="job-running" if job.state == JobState.RUNNING else job.state,
        )
        for job in found
    ]
