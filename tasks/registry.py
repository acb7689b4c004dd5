"""What this room asks of the one that knows hosts and containers, without importing it.

`machines` registers one object with these methods when Django starts. All calls happen inside the caller's
transaction; a handler that raises undoes it.
"""

from __future__ import annotations

from datetime import datetime
from typing import Protocol
from uuid import UUID

from django.contrib.auth.models import User
from django.core.exceptions import ImproperlyConfigured

from contract.events import Event
from contract.live import StateMessage
from contract.orders import Params
from tasks.models import Job


class Handlers(Protocol):
    """What the owner of hosts and containers must answer."""

    def on_job_changed(self, job: Job, old_state: str | None) -> None:
        """`job.state` is new; `old_state` None: the job was just requested."""

    def on_host_state(self, host_id: UUID, message: StateMessage, received: datetime) -> None:
        """A host's heartbeat, inventory or changed machine. Older than what is known: change nothing.

        `received` is when Redis took it, by the portal's clock, which the host's `message.at` need not agree with.
        """

    def on_refused(self, host_id: UUID, event: Event) -> None:
        """A host would not obey an order or live request (already in the audit trail)."""

    def retry_allowed(self, by: User, job: Job) -> None:
        """Raise PortalError if the job cannot be run again as things stand (container gone, host revoked)."""

    def retry_params(self, job: Job, params: Params) -> Params:
        """What a retry shall ask for: the same, with data that was mended since (a release's mirror) as it is now."""

    def may_run(self, job: Job) -> bool:
        """False: a waiting job has lost its sense (host revoked, container removed) and must not be sent."""

    def enrolled_hosts(self) -> dict[UUID, str]:
        """Id -> name of every host whose streams are read."""

    def online_hosts(self) -> set[UUID]:
        """Those heard of lately."""


_registered: Handlers | None = None


def register(handlers: Handlers) -> None:
    """Called once, from AppConfig.ready()."""
    global _registered
    _registered = handlers


def handlers() -> Handlers:
    """The registered handlers; ImproperlyConfigured if the app that has them is not installed."""
    if _registered is None:
        raise ImproperlyConfigured("No app has registered with tasks.registry. Is `machines` in INSTALLED_APPS?")
    return _registered
