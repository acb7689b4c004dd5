"""The object that `tasks` calls."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from django.contrib.auth.models import User

from contract.events import Event
from contract.live import Heartbeat, InventoryReport, MachineChanged, StateMessage
from contract.orders import BuildImage, Create, Kind, Params
from machines.handlers import heartbeat, inventory, jobs
from machines.models import Container, Host, Release
from machines.services.releases import release_spec
from tasks.models import Job
from teams.errors import Conflict
from teams.permissions import Permission, require

_PERMISSIONS = {
    Kind.CREATE: Permission.CONTAINER_CREATE,
    Kind.REMOVE: Permission.CONTAINER_REMOVE,
    Kind.BUILD_IMAGE: Permission.IMAGE_BUILD,
    Kind.INVENTORY: Permission.HOST_MANAGE,
}


class MachineHandlers:
    """tasks.registry.Handlers, for hosts and containers."""

    def on_job_changed(self, job: Job, old_state: str | None) -> None:
        jobs.job_changed(job, old_state)

    def on_host_state(self, host_id: UUID, message: StateMessage, received: datetime) -> None:
        host = Host.objects.enrolled().filter(pk=host_id).first()
        if host is None:
            return  # revoked between two reads of the relay
        if isinstance(message, Heartbeat):
            heartbeat.heartbeat(host, message, received)
        elif isinstance(message, InventoryReport):
            inventory.inventory(host, message, received)
        elif isinstance(message, MachineChanged):
            inventory.machine_changed(host, message)

    def on_refused(self, host_id: UUID, event: Event) -> None:
        """Nothing beyond the audit row and the job's failure, which `tasks` writes."""

    def retry_allowed(self, by: User, job: Job) -> None:
        """The same permission as the first time, a host that takes orders, and a container that still stands."""
        permission = _PERMISSIONS.get(Kind(job.kind), Permission.CONTAINER_OPERATE)
        container = Container.objects.filter(pk=job.container_id).first() if job.container_id else None
        require(by, permission, job.team, owner_id=container.owner_id if container else None)
        if not Host.objects.enrolled().filter(pk=job.host_id).exists():
            raise Conflict("host_not_enrolled", "The job cannot run again.", f"Host {job.host_name} takes no orders.")
        if job.container_id and (container is None or container.removed_at is not None):
            raise Conflict(
                "container_removed",
                "The job cannot run again.",
                f"{job.container_name} was removed.",
                "Create it anew.",
            )
        if container is not None:
            _check_makes_sense(job, container)

    def retry_params(self, job: Job, params: Params) -> Params:
        """A release is data that operators mend: a retry takes the recipe as it is now."""
        if not isinstance(params, BuildImage | Create):
            return params
        release = Release.objects.filter(slug=params.release.slug).first()
        return params if release is None else params.model_copy(update={"release": release_spec(release)})

    def may_run(self, job: Job) -> bool:
        if not Host.objects.enrolled().filter(pk=job.host_id).exists():
            return False
        if job.container_id is None:
            return True
        return Container.objects.standing().filter(pk=job.container_id).exists()

    def enrolled_hosts(self) -> dict[UUID, str]:
        return dict(Host.objects.enrolled().values_list("pk", "name"))

    def online_hosts(self) -> set[UUID]:
        return set(Host.objects.online().values_list("pk", flat=True))


def _check_makes_sense(job: Job, container: Container) -> None:
    pending = Job.objects.unfinished().filter(container_id=container.pk, kind__in=[Kind.CREATE, Kind.REMOVE])
    if pending.exists():
        raise Conflict(
            "job_pending",
            "The job cannot run again just now.",
            f"Another job is creating or removing {container.name}.",
            "Wait for its end.",
        )
    if job.kind == Kind.CREATE and container.created:
        raise Conflict("container_exists", "There is nothing to create.", f"{container.name} exists on its host.")
    if job.kind not in {Kind.CREATE, Kind.REMOVE} and not container.created:
        raise Conflict("container_state", "The job cannot run again.", f"{container.name} was never made.")
