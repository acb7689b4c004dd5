"""Writes on containers. Each checks the permission, makes a job and its audit row, all in one transaction."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from django.contrib.auth.models import User
from django.db import IntegrityError, transaction

from audit.services import record
from contract import orders
from contract.live import MachineInfo
from contract.names import NameRuleError, check_container_name
from machines.models import Container, ContainerState, DiscoveredMachine, Host, Release
from machines.services.passwords import check_password, crypt_hash
from machines.services.releases import release_spec
from tasks import notify
from tasks.models import Job
from tasks.services import job_done, job_request
from teams.errors import Conflict, Invalid
from teams.models import Team
from teams.permissions import Permission, require

Params = orders.Params
S = ContainerState


@dataclass(frozen=True)
class CreateSpec:
    """What a new container shall be. `root_password`: None or "" for no password login of root."""

    name: str
    release: Release
    start: bool = True
    autostart: bool = False
    root_password: str | None = field(default=None, repr=False)


def create_params(spec: CreateSpec) -> orders.Create:
    """The order's parameters of `spec`, its password as a hash. Raises Invalid for a broken rule."""
    _check_name(spec.name)
    if spec.root_password:
        check_password(spec.root_password)
    if not spec.release.active:
        raise Invalid(
            "release_inactive",
            f"{spec.release.title} is not offered any more.",
            hint="Pick another release.",
            field="release",
        )
    return orders.Create(
        name=spec.name,
        release=release_spec(spec.release),
        root_password_hash=crypt_hash(spec.root_password) if spec.root_password else None,
        start=spec.start,
        autostart=spec.autostart,
    )


def container_create(*, by: User, team: Team, host: Host, spec: CreateSpec) -> tuple[Container, Job]:
    """Make a container: the row and the job now, the thing itself by the host.

    Raises NotFound or PermissionDenied, Invalid (name, password, release), Conflict (name taken, host not usable).
    """
    require(by, Permission.CONTAINER_CREATE, team)
    params = create_params(spec)  # hashing takes a while: not while others wait for the database
    with transaction.atomic():
        _check_host(host)
        container = _new_row(by, team, host, spec)
        job = _ask(by, container, params, f"Create container {container.name}")
    return container, job


def container_start(*, by: User, container: Container) -> Job:
    """Boot it. Starting what runs succeeds."""
    return _operate(by, container, lambda name: orders.Start(name=name), "Start")


def container_stop(*, by: User, container: Container) -> Job:
    """Shut it down cleanly."""
    return _operate(by, container, lambda name: orders.Stop(name=name), "Stop")


def container_restart(*, by: User, container: Container) -> Job:
    return _operate(by, container, lambda name: orders.Restart(name=name), "Restart")


def container_kill(*, by: User, container: Container) -> Job:
    """End every process at once."""
    return _operate(by, container, lambda name: orders.Kill(name=name), "Kill")


def container_enable(*, by: User, container: Container) -> Job:
    """Boot it with its host from now on."""
    return _operate(by, container, lambda name: orders.Enable(name=name), "Enable at boot:")


def container_disable(*, by: User, container: Container) -> Job:
    return _operate(by, container, lambda name: orders.Disable(name=name), "Disable at boot:")


def container_set_password(*, by: User, container: Container, password: str) -> Job:
    """Give root a new password. Raises Invalid for one that breaks the policy."""
    require(by, Permission.CONTAINER_OPERATE, container.team)
    check_password(password)
    hashed = crypt_hash(password)
    return _operate(
        by, container, lambda name: orders.SetPassword(name=name, root_password_hash=hashed), "Set root password of"
    )


@transaction.atomic
def container_remove(*, by: User, container: Container) -> Job:
    """Remove it with all its data; whatever state it is in. On a revoked host only the portal's entry goes."""
    require(by, Permission.CONTAINER_REMOVE, container.team, owner_id=container.owner_id)
    container = _locked(container)
    params = orders.Remove(name=container.name, only_managed=not container.created)
    title = f"Remove container {container.name}"
    if container.host.revoked_at is not None:
        return _ask(by, container, params, title, ask=job_done)
    return _ask(by, container, params, title)


@transaction.atomic
def container_adopt(*, by: User, discovered: DiscoveredMachine, team: Team) -> Container:
    """Take a machine that was found on a host into a team's hands. For operators."""
    require(by, Permission.CONTAINER_ADOPT)
    _check_host(discovered.host)
    try:
        check_container_name(discovered.name)
    except NameRuleError as error:
        raise Conflict(
            "name_rule",
            f"{discovered.name} cannot be adopted.",
            str(error),
            "Rename it on the host (machinectl rename).",
        ) from error
    info = MachineInfo.model_validate(discovered.info)
    container = Container(
        name=discovered.name,
        host=discovered.host,
        team=team,
        owner=by,
        state=info.state.value,
        host_state=info.state.value,
        created=True,
        autostart=info.enabled,
        addresses=info.addresses,
        os=info.os,
        image_bytes=info.image_bytes,
        started_at=info.started,
    )
    _insert(container)
    discovered.delete()
    record(by=by, action="container.adopt", team_id=team.pk, obj=container, detail={"host": container.host.name})
    _hint(container)
    return container


def _operate(by: User, container: Container, params: Callable[[str], Params], verb: str) -> Job:
    require(by, Permission.CONTAINER_OPERATE, container.team)
    with transaction.atomic():
        container = _locked(container)
        _check_host(container.host)
        if container.state in {S.CREATING, S.REMOVING} or not container.created:
            raise Conflict(
                "container_state",
                f"{container.name} cannot do this now.",
                f"It is {container.get_state_display().lower()}"
                + ("." if container.created or container.state == S.CREATING else ", and was never made."),
                "Wait for its job to end, or look at its History.",
            )
        return _ask(by, container, params(container.name), f"{verb} {container.name}")


def _ask(by: User, container: Container, params: Params, title: str, *, ask: Callable[..., Job] = job_request) -> Job:
    return ask(
        by=by,
        params=params,
        title=title,
        host_id=container.host_id,
        host_name=container.host.name,
        container_id=container.pk,
        container_name=container.name,
        team=container.team,
    )


def _locked(container: Container) -> Container:
    """The row as it is now, locked until the end of the transaction."""
    rows = Container.objects.select_related("host", "team").select_for_update(of=("self",))
    row = rows.get(pk=container.pk)
    if row.removed_at is not None:
        raise Conflict("container_removed", f"{row.name} was removed.", hint="Its jobs are in the list of jobs.")
    return row


def _check_name(name: str) -> None:
    try:
        check_container_name(name)
    except NameRuleError as error:
        raise Invalid("name_rule", str(error), field="name") from error


def _check_host(host: Host) -> None:
    if host.enrolled_at is None or host.revoked_at is not None:
        raise Conflict(
            "host_not_enrolled",
            f"Host {host.name} takes no orders.",
            "It was revoked." if host.revoked_at else "It is not enrolled yet.",
            "Choose another host, or have an operator enrol it.",
        )


def _new_row(by: User, team: Team, host: Host, spec: CreateSpec) -> Container:
    if DiscoveredMachine.objects.filter(host=host, name=spec.name).exists():
        raise _taken(spec.name, host)
    container = Container(
        name=spec.name, host=host, team=team, owner=by, release=spec.release, autostart=spec.autostart
    )
    _insert(container)
    return container


def _insert(container: Container) -> None:
    """The unique constraint decides between two who want the same name at once."""
    try:
        with transaction.atomic():
            container.save(force_insert=True)
    except IntegrityError as error:
        raise _taken(container.name, container.host) from error


def _taken(name: str, host: Host) -> Conflict:
    return Conflict(
        "name_taken",
        f"The name {name} is taken on {host.name}.",
        "Names are unique on a host, over all teams.",
        "Choose another name, or another host.",
    )


def _hint(container: Container) -> None:
    notify.changed("containers", f"container:{container.pk}", f"host:{container.host_id}")
