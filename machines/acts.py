"""The acts on a container as a page offers them: verb, when it makes sense, and the service behind it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from django.contrib.auth.models import User
from django.urls import reverse

from machines.models import Container, ContainerState
from machines.services import containers
from tasks.models import Job
from teams.errors import PortalError
from teams.permissions import Access, Permission

S = ContainerState
UP = frozenset({S.RUNNING, S.DEGRADED, S.STARTING})
DOWN = frozenset({S.STOPPED, S.FAILED})


@dataclass(frozen=True)
class Act:
    """`explain` says what will happen, in the words of the button's tooltip and of a confirmation."""

    key: str
    verb: str
    icon: str
    run: Callable[..., Job]
    states: frozenset[ContainerState]
    explain: str
    permission: Permission = Permission.CONTAINER_OPERATE
    danger: bool = False

    def fits(self, container: Container) -> bool:
        """Whether the act makes sense in the container's state; the service decides anew."""
        if self.key in {"enable", "disable"} and container.autostart == (self.key == "enable"):
            return False
        if not container.created and self.key != "remove":
            return False  # it was never made: there is nothing to act on
        return container.state in self.states


ACTS = {
    act.key: act
    for act in (
        Act("start", "Start", "play", containers.container_start, DOWN, "Boots the container."),
        Act("stop", "Stop", "square", containers.container_stop, UP, "Shuts the container down cleanly."),
        Act("restart", "Restart", "rotate-ccw", containers.container_restart, UP, "Shuts it down and boots it anew."),
        Act(
            "kill",
            "Kill",
            "zap",
            containers.container_kill,
            UP | {S.STOPPING},
            "Ends every process at once, as by pulling the plug. What was not yet written to disk is lost.",
            danger=True,
        ),
        Act(
            "enable",
            "Start with the host",
            "power",
            containers.container_enable,
            UP | DOWN | {S.STOPPING},
            "Boots the container whenever its host boots.",
        ),
        Act(
            "disable",
            "Do not start with the host",
            "power-off",
            containers.container_disable,
            UP | DOWN | {S.STOPPING},
            "Leaves the container off when its host boots.",
        ),
        Act(
            "remove",
            "Remove",
            "trash-2",
            containers.container_remove,
            UP | DOWN | {S.STOPPING, S.MISSING, S.CREATING},
            "Stops the container and deletes it with all its files. There is no way back.",
            permission=Permission.CONTAINER_REMOVE,
            danger=True,
        ),
    )
}


@dataclass(frozen=True)
class Offer:
    """An act that a page offers on one container, with its address."""

    key: str
    verb: str
    icon: str
    explain: str
    danger: bool
    url: str


def offers(access: Access, container: Container) -> dict[str, Offer]:
    """The acts that fit the container's state and that the person may do, by key."""
    return {
        key: Offer(key, act.verb, act.icon, act.explain, act.danger, act_url(container, key))
        for key, act in ACTS.items()
        if may(access, container, act)
    }


def act_url(container: Container, key: str) -> str:
    return reverse("container_act", args=[container.pk, key])


def may(access: Access, container: Container, act: Act) -> bool:
    """Whether a page offers the act: the person may, and the state fits."""
    if container.removed_at is not None or not act.fits(container):
        return False
    return access.allowed(act.permission, container.team_id, container.owner_id)


BULK = ("start", "stop", "remove")


def bulk_run(*, by: User, act: Act, chosen: list[Container]) -> tuple[list[Job], list[tuple[Container, str]]]:
    """Do an act on each; one that cannot be done does not hold back the others. Returns jobs, and refusals with why."""
    jobs: list[Job] = []
    refused: list[tuple[Container, str]] = []
    for container in chosen:
        try:
            jobs.append(act.run(by=by, container=container))
        except PortalError as error:
            refused.append((container, f"{error.what} {error.why}".strip()))
    return jobs, refused
