"""Writes on hosts, except enrolment."""

from __future__ import annotations

from django.contrib.auth.models import User
from django.db import transaction
from django.utils import timezone

from audit.services import record
from contract import orders
from contract.events import Failure
from machines.models import Container, ContainerState, DiscoveredMachine, Host, Release
from machines.services.releases import release_spec
from tasks import hostlink, notify
from tasks.models import Job, JobState
from tasks.services import job_request
from tasks.transitions import transition
from teams.errors import Conflict
from teams.permissions import Permission, require


@transaction.atomic
def host_revoke(*, by: User, host: Host) -> None:
    """Let the host no longer in: its Redis user goes, its unfinished jobs fail, its containers count as missing.

    What runs on it runs on; it may be enrolled anew. Raises Unavailable if Redis does not answer.
    """
    require(by, Permission.HOST_MANAGE)
    host = Host.objects.select_for_update().get(pk=host.pk)
    if host.revoked_at is not None:
        raise Conflict("host_revoked", f"Host {host.name} is revoked already.")
    now = timezone.now()
    Host.objects.filter(pk=host.pk).update(revoked_at=now)
    failure = Failure(
        code="host_revoked",
        what="The host was revoked.",
        why=f"{by.get_username()} revoked {host.name} before the job was done.",
        hint="What the job has done by then is on the host.",
    )
    for job in Job.objects.unfinished().filter(host_id=host.pk).select_for_update():
        transition(job, JobState.FAILED, failure=failure)
    Container.objects.standing().filter(host=host).update(
        state=ContainerState.MISSING, host_state="", state_at=now, addresses=[]
    )
    DiscoveredMachine.objects.filter(host=host).delete()
    record(by=by, action="host.revoke", obj=host)
    notify.changed("hosts", f"host:{host.pk}", "containers")
    hostlink.revoke(host.pk)  # last: if Redis does not answer, all of the above is undone and can be tried again


@transaction.atomic
def image_build(*, by: User, host: Host, release: Release, rebuild: bool = False) -> Job:
    """Build a release's base image on a host, so that creating is quick from the first time on. For operators."""
    require(by, Permission.IMAGE_BUILD)
    if host.enrolled_at is None or host.revoked_at is not None:
        raise Conflict("host_not_enrolled", f"Host {host.name} takes no orders.", "It is not enrolled, or was revoked.")
    return job_request(
        by=by,
        params=orders.BuildImage(release=release_spec(release), rebuild=rebuild),
        title=f"{'Rebuild' if rebuild else 'Build'} base image {release.slug}",
        host_id=host.pk,
        host_name=host.name,
    )
