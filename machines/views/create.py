"""Create: one screen, with the commands that will run."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST

from audit.http import AuthedRequest, render_page
from machines.forms.container import CreateForm
from machines.forms.names import suggest_name
from machines.models import BaseImage, Host, Release
from machines.preview import create_commands
from machines.services import containers
from machines.services.containers import CreateSpec
from machines.templatetags.ui import size
from teams.errors import Invalid, PortalError
from teams.services.people import home_team

TEMPLATE = "machines/container_create.html"


@require_http_methods(["GET", "POST"])
def container_create(request: AuthedRequest) -> HttpResponse:
    if request.method == "POST":
        form, refused = CreateForm(request.POST, user=request.user), None
        if form.is_valid():
            try:
                container, _job = containers.container_create(
                    by=request.user,
                    team=form.cleaned_data["team"],
                    host=form.cleaned_data["host"],
                    spec=form.spec(),
                )
            except PortalError as error:
                refused = add_error(form, error)
            else:
                return redirect("container_detail", container.pk)
        return render_page(request, TEMPLATE, _context(form) | {"refused": refused}, status=422)
    return render_page(request, TEMPLATE, _context(_fresh_form(request)))


def _fresh_form(request: AuthedRequest) -> CreateForm:
    """Everything is chosen already as most people would, or as the link asked; one press creates."""
    form = CreateForm(user=request.user)
    asked = request.GET
    online = [host for host in form.hosts if host.is_online]
    host = next((host for host in form.hosts if str(host.pk) == asked.get("host")), None)
    release = next((release for release in form.releases if release.slug == asked.get("release")), None)
    own = home_team(request.user)
    best = host or max(online, key=_free, default=None) or next(iter(form.hosts), None)
    form.initial = {
        "name": asked.get("name", "")[:100] or suggest_name(),
        "release": (release or form.releases[0]).slug if form.releases else None,
        "host": best.pk if best else None,
        "team": own.pk if own in form.teams else form.teams[0].pk if form.teams else None,
        "start": True,
    }
    return form


def _free(host: Any) -> int:
    return int(host.metrics.get("pool_free_bytes") or 0)


def _context(form: CreateForm) -> dict[str, Any]:
    """The tiles: which is chosen, and what a person wants to know before choosing."""
    host_id, slug = str(form["host"].value() or ""), str(form["release"].value() or "")
    built = set(BaseImage.objects.filter(host__in=form.hosts).values_list("host_id", "slug"))
    releases = [
        {"release": release, "checked": release.slug == slug, "text": _built_words(form, release, built)}
        for release in form.releases
    ]
    hosts = [{"host": host, "checked": str(host.pk) == host_id, **_host_words(host)} for host in form.hosts]
    return {"form": form, "releases": releases, "hosts": hosts, **_preview(form)}


def _built_words(form: CreateForm, release: Release, built: set[tuple[UUID, str]]) -> str:
    """Where the base image stands already, making is quick."""
    count = sum((host.pk, release.slug) in built for host in form.hosts)
    if not count:
        return "built at first use"
    return "built" if count == len(form.hosts) else f"built on {count} of {len(form.hosts)} hosts"


def _host_words(host: Host) -> dict[str, str]:
    free = host.metrics.get("pool_free_bytes")
    room = f"{size(free)} free" if free is not None else "free space unknown"
    return {"text": room, "note": "" if host.is_online else "Offline"}


@require_POST
def container_preview(request: AuthedRequest) -> HttpResponse:
    """The commands of what the form says now; by POST, for a name half typed belongs in no log of addresses."""
    form = CreateForm(request.POST, user=request.user)
    return render(request, f"{TEMPLATE}#preview", {"form": form, **_preview(form)})


def _preview(form: CreateForm) -> dict[str, Any]:
    """What will run, and whether the base image must be built first. Empty while the form is not yet complete."""
    shown = form if form.is_bound else CreateForm(form.initial, user=form.user)
    shown.is_valid()
    data = shown.cleaned_data
    if not {"name", "release", "host"} <= data.keys():
        return {"commands": [], "preview_errors": shown.errors}
    spec = CreateSpec(data["name"], data["release"], start=data["start"], autostart=data["autostart"])
    built = BaseImage.objects.filter(host=data["host"], slug=spec.release.slug).exists()
    return {"commands": create_commands(spec, data["host"]), "base_built": built, "preview_host": data["host"]}


def add_error(form: Any, error: PortalError) -> PortalError | None:
    """A service's word at the field it speaks of; returned if it speaks of none, to be told above the form."""
    field = error.field if isinstance(error, Invalid) else ""
    if field not in form.fields:
        return error
    form.add_error(field, str(error))
    return None
