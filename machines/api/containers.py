"""`containers`: list, make, look at, act on, remove."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Annotated, Any
from uuid import UUID

from django.db.models import F
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from ninja import Query, Router

from contract.live import OFFLINE_AFTER_S
from machines.api import defaults
from machines.api.auth import caller
from machines.api.jobs import job_out, job_path
from machines.api.paging import Cursor, Limit, Page, Text, page, page_rows, reply
from machines.api.schemas import AcceptedOut, ContainerOut, CreateBody, CreatedOut, PasswordBody
from machines.models import Container, ContainerState
from machines.selectors import container_list as find_containers
from machines.services import containers
from machines.services.containers import CreateSpec
from tasks.models import Job
from teams.errors import NotFound

router = Router(tags=["containers"])

COLUMNS = ("state", "state_at", "autostart", "addresses", "os", "image_bytes", "created_at", "started_at")
JOINED = {
    "host_name": F("host__name"),
    "host_ident": F("host_id"),
    "host_seen": F("host__last_seen"),
    "host_revoked": F("host__revoked_at"),
    "team_slug": F("team__slug"),
    "owner_name": F("owner__username"),
    "release_slug": F("release__slug"),
}
ORDER = ("name", "id")
Make = Callable[..., Job]
ACTS: dict[str, tuple[Make, str]] = {
    "start": (containers.container_start, "Boot it."),
    "stop": (containers.container_stop, "Shut it down cleanly."),
    "restart": (containers.container_restart, "Shut it down cleanly and boot it anew."),
    "kill": (containers.container_kill, "End every process at once, as by pulling the plug."),
    "enable": (containers.container_enable, "Boot it whenever its host boots."),
    "disable": (containers.container_disable, "Leave it off when its host boots."),
}

State = Annotated[ContainerState | None, Query(default=None)]


def container_out(row: dict[str, Any]) -> ContainerOut:
    """One row of COLUMNS, JOINED and ORDER as the API tells it."""
    seen = row["host_seen"]
    fresh = seen is not None and timezone.now() - seen < timedelta(seconds=OFFLINE_AFTER_S)
    return ContainerOut(
        id=row["id"],
        name=row["name"],
        state=row["state"],
        state_at=row["state_at"],
        host=row["host_name"],
        host_id=row["host_ident"],
        host_online=fresh and row["host_revoked"] is None,
        team=row["team_slug"],
        owner=row["owner_name"],
        release=row["release_slug"],
        autostart=row["autostart"],
        addresses=row["addresses"],
        os=row["os"],
        image_bytes=row["image_bytes"],
        created_at=row["created_at"],
        started_at=row["started_at"],
    )


@router.get("/containers", response=Page[ContainerOut], summary="Containers")
def container_list(
    request: HttpRequest,
    limit: Limit,
    cursor: Cursor,
    q: Text,
    host: Text,
    team: Text,
    state: State,
    mine: Annotated[bool, Query(default=False)],
) -> HttpResponse:
    """Those that you may see, over all hosts, by name. `q` looks into names; `host` is a name or id, `team` a slug."""
    user = caller(request)
    found = find_containers(
        user,
        q=q,
        host=defaults.host_named(user, host) if host else None,
        team=defaults.team_named(user, team) if team else None,
        state=state.value if state else "",
        mine=mine,
    )
    rows = page_rows(found, ORDER, COLUMNS, JOINED, cursor=cursor, limit=limit)
    return reply(page(rows, container_out, ContainerOut))


@router.post("/containers", response={202: CreatedOut}, summary="Create a container")
def container_create(request: HttpRequest, body: CreateBody) -> HttpResponse:
    """Make one of a release. The answer comes at once; the job says how it goes."""
    user = caller(request)
    release = defaults.release_named(body.release)
    team = defaults.team_named(user, body.team) if body.team else defaults.team_of(user)
    host = defaults.host_named(user, body.host) if body.host else defaults.host_with_room(user, release)
    spec = CreateSpec(
        name=body.name,
        release=release,
        start=body.start,
        autostart=body.autostart,
        root_password=body.root_password,
    )
    container, job = containers.container_create(by=user, team=team, host=host, spec=spec)
    return reply(CreatedOut(container=_of(container), job=job_out(job)), 202, location=job_path(job))


@router.get("/containers/{uuid:ident}", response=ContainerOut, summary="One container")
def container_get(request: HttpRequest, ident: UUID) -> HttpResponse:
    """As the host last told of it. One that was removed is not there any more."""
    found = Container.objects.visible_to(caller(request)).filter(pk=ident, removed_at__isnull=True)
    row = found.values(*ORDER, *COLUMNS, **JOINED).first()
    if row is None:
        raise _no_container()
    return reply(container_out(row))


@router.delete("/containers/{uuid:ident}", response={202: AcceptedOut}, summary="Remove a container")
def container_remove(request: HttpRequest, ident: UUID) -> HttpResponse:
    """Stop it and delete it with all its data. There is no way back."""
    return _accepted(containers.container_remove(by=caller(request), container=_container(request, ident)))


def _set_password(request: HttpRequest, ident: UUID, body: PasswordBody) -> HttpResponse:
    """Set the password of root inside. Only its hash leaves the portal."""
    container = _container(request, ident)
    return _accepted(containers.container_set_password(by=caller(request), container=container, password=body.password))


for _method, _name in (("PUT", "container_password"), ("POST", "container_password_post")):
    router.add_api_operation(
        "/containers/{uuid:ident}/password",
        [_method],
        _set_password,
        response={202: AcceptedOut},
        summary="Set root's password",
        operation_id=_name,
        include_in_schema=_method == "PUT",
    )


def _act(make: Make) -> Callable[[HttpRequest, UUID], HttpResponse]:
    def act(request: HttpRequest, ident: UUID) -> HttpResponse:
        return _accepted(make(by=caller(request), container=_container(request, ident)))

    return act


for _verb, (_make, _explain) in ACTS.items():
    router.add_api_operation(
        f"/containers/{{uuid:ident}}/{_verb}",
        ["POST"],
        _act(_make),
        response={202: AcceptedOut},
        summary=f"{_verb.title()} a container",
        description=_explain,
        operation_id=f"container_{_verb}",
    )


def _container(request: HttpRequest, ident: UUID) -> Container:
    found = Container.objects.visible_to(caller(request)).select_related("host", "team")
    container = found.filter(pk=ident, removed_at__isnull=True).first()
    if container is None:
        raise _no_container()
    return container


def _no_container() -> NotFound:
    return NotFound("There is no such container, or you may not see it.")


def _accepted(job: Job) -> HttpResponse:
    return reply(AcceptedOut(job=job_out(job)), 202, location=job_path(job))


def _of(container: Container) -> ContainerOut:
    """The same, of an object with its relations at hand."""
    row = {name: getattr(container, name) for name in (*ORDER, *COLUMNS)}
    return container_out(
        row
        | {
            "host_name": container.host.name,
            "host_ident": container.host_id,
            "host_seen": container.host.last_seen,
            "host_revoked": container.host.revoked_at,
            "team_slug": container.team.slug,
            "owner_name": container.owner.get_username() if container.owner else None,
            "release_slug": container.release.slug if container.release else None,
        }
    )
