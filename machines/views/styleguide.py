"""All parts of the interface in all their states, on one page for staff. A browser test takes its picture."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from math import sin
from typing import Any

from django import forms
from django.http import Http404, HttpResponse, JsonResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_GET

from audit.http import AuthedRequest

CONTAINER_STATES = [
    "creating",
    "stopped",
    "starting",
    "running",
    "degraded",
    "stopping",
    "failed",
    "missing",
    "removing",
]
JOB_STATES = ["queued", "running", "succeeded", "failed", "cancelled"]
HOST_STATES = ["online", "offline", "waiting", "revoked"]
CHECK_STATES = ["ok", "warn", "fail"]
ICONS = [
    "box",
    "server",
    "list-checks",
    "layers",
    "archive",
    "users",
    "shield-check",
    "square-terminal",
    "scroll-text",
    "settings",
    "history",
]


class SampleForm(forms.Form):
    """A field of each kind, one of them wrong."""

    name = forms.CharField(initial="web1", help_text="Lower-case letters, digits and hyphens.")
    mirror = forms.CharField(label="Mirror")
    team = forms.ChoiceField(choices=[("a", "Platform"), ("b", "Research")])
    note = forms.CharField(widget=forms.Textarea(attrs={"rows": 3}), label="Note")
    start = forms.BooleanField(initial=True, label="Start when made", required=False)
    autostart = forms.BooleanField(label="Start with the host", required=False, help_text="Boots whenever it boots.")


def _bound() -> SampleForm:
    form = SampleForm({"name": "web1", "mirror": "ftp//deb", "team": "a", "note": "", "start": "on"})
    form.add_error("mirror", "This is not an address. Write it as https://mirror.example.org/debian.")
    return form


def _steps() -> list[dict[str, Any]]:
    started = timezone.now() - timedelta(seconds=8)
    return [
        {"key": "image", "title": "Find the base image", "state": "done", "seconds": 0.1},
        {"key": "clone", "title": "Clone it", "state": "done", "seconds": 0.4},
        {"key": "keyring", "title": "Check the keyring", "state": "skipped", "seconds": None},
        {
            "key": "unpack",
            "title": "Unpack packages",
            "state": "running",
            "started_at": started,
            "fraction": 0.62,
            "text": "118 of 190",
        },
        {"key": "start", "title": "Start the container", "state": "pending"},
    ]


def _failed_steps() -> list[dict[str, Any]]:
    return [
        {"key": "image", "title": "Find the base image", "state": "done", "seconds": 0.1},
        {"key": "fetch", "title": "Fetch packages", "state": "failed", "seconds": 12.3},
        {"key": "start", "title": "Start the container", "state": "pending"},
    ]


def _rows() -> list[dict[str, Any]]:
    now = timezone.now()
    return [
        {
            "id": f"row{index}",
            "name": name,
            "state": state,
            "host": "srv1.example.net" if index % 2 else "srv2.example.net",
            "address": f"10.147.12.{20 + index}" if state in {"running", "degraded"} else "",
            "at": now - timedelta(hours=7 * index, minutes=3),
        }
        for index, (name, state) in enumerate(
            zip(["web1", "db1", "ci-runner-7", "scratch", "mail", "build-arm"], CONTAINER_STATES[1:], strict=False)
        )
    ]


def _context() -> dict[str, Any]:
    now = timezone.now()
    return {
        "container_states": CONTAINER_STATES,
        "job_states": JOB_STATES,
        "host_states": HOST_STATES,
        "check_states": CHECK_STATES,
        "icons": ICONS,
        "form": _bound(),
        "steps": _steps(),
        "failed_steps": _failed_steps(),
        "rows": _rows(),
        "tabs": [
            {"label": "Overview", "url": "#tabs", "active": True},
            {"label": "Terminal", "url": "#tabs"},
            {"label": "Journal", "url": "#tabs"},
            {"label": "History", "url": "#tabs", "count": 12},
        ],
        "facts": [
            {"term": "Host", "value": "srv1.example.net", "url": "#kv"},
            {"term": "Address", "value": "10.147.12.21", "copyable": True},
            {"term": "System", "value": "Debian GNU/Linux 13 (trixie)"},
            {"term": "State", "state": "running"},
            {"term": "Made", "at": now - timedelta(days=3)},
        ],
        "figures": [
            {"label": "Containers", "value": 12, "detail": "9 running"},
            {"label": "CPU", "value": "3.4", "unit": "of 16 cores"},
            {"label": "Memory", "value": "21.5", "unit": "GiB"},
            {"label": "Failed", "value": 1, "tone": "bad"},
        ],
        "past": [
            {"at": now - timedelta(minutes=2), "title": "Start web1", "by": "ada", "state": "succeeded", "url": "#t"},
            {"at": now - timedelta(hours=3), "title": "Restart web1", "by": "grace", "state": "failed", "url": "#t"},
            {"at": now - timedelta(days=3), "title": "Create web1", "by": "ada", "state": "succeeded", "url": "#t"},
        ],
        "first": [
            {"title": "Enrol a host", "text": "", "done": True},
            {
                "title": "Create a container",
                "text": "A clone: about a second.",
                "url": "#c",
                "verb": "Create container",
            },
            {"title": "Open a shell", "text": "In the browser, as root of the container."},
        ],
        "commands": [
            "mmdebstrap --variant=minbase --include=systemd-sysv,dbus trixie /var/lib/machines/base",
            "machinectl clone base web1",
            "systemctl start systemd-nspawn@web1.service",
        ],
    }


def _require_staff(request: AuthedRequest) -> None:
    """A 404 and no way to the login: whoever is logged in would come back from there at once, for ever."""
    if not request.user.is_staff:
        raise Http404


@require_GET
def styleguide(request: AuthedRequest) -> HttpResponse:
    _require_staff(request)
    return render(request, "styleguide.html", _context())


@require_GET
def styleguide_metrics(request: AuthedRequest) -> JsonResponse:
    """An hour of made-up figures, with a gap and a limit that is nearly reached."""
    _require_staff(request)
    now = timezone.now().timestamp()
    at = [now - 3600 + 10 * index for index in range(360)]
    gap = range(150, 190)

    def series(value: Callable[[int], float]) -> list[float | None]:
        return [None if index in gap else round(value(index), 3) for index in range(360)]

    return JsonResponse(
        {
            "at": at,
            "cpu": series(lambda i: 1.1 + 0.8 * sin(i / 23) + 0.25 * sin(i / 3)),
            "memory": series(lambda i: (1.1 + 0.75 * i / 360) * 2**30),
            "tasks": series(lambda i: 64 + i // 40),
            "rx": series(lambda i: 2.2e6 * abs(sin(i / 31))),
            "tx": series(lambda i: 6e5 * abs(sin(i / 17))),
            "limits": {"cpu": 4, "memory": 2 * 2**30},
        }
    )
