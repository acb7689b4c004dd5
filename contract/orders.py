"""Orders: the closed list of what a portal can ask of a host agent's jobs worker.

An order is the one argument of the Celery task `TASK_NAME`, in a message of Celery's `auth` serializer.
Only the message body is signed, so everything that matters stands in the order and nothing in headers.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from contract import PROTOCOL
from contract.names import ContainerName, CryptHash
from contract.releases import ReleaseSpec

TASK_NAME = "nspawnweb.order"
QUEUE = "jobs"
ORDER_LIFETIME_S = 7 * 24 * 3600
"""How long an order stays valid: a host that is off for a weekend works its queue off when it returns."""


class Kind(StrEnum):
    """What a job does. The value is stored and shown in URLs and the API."""

    BUILD_IMAGE = "image.build"
    CREATE = "container.create"
    START = "container.start"
    STOP = "container.stop"
    RESTART = "container.restart"
    KILL = "container.kill"
    ENABLE = "container.enable"
    DISABLE = "container.disable"
    SET_PASSWORD = "container.password"  # noqa: S105 - the name of an operation
    REMOVE = "container.remove"
    INVENTORY = "host.inventory"


class _Params(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class BuildImage(_Params):
    """Build the base image of a release; with `rebuild` also where one stands already."""

    kind: Literal[Kind.BUILD_IMAGE] = Kind.BUILD_IMAGE
    release: ReleaseSpec
    rebuild: bool = False


class Create(_Params):
    """Clone the release's base image (building it first if need be) and make it a container of its own."""

    kind: Literal[Kind.CREATE] = Kind.CREATE
    name: ContainerName
    release: ReleaseSpec
    root_password_hash: CryptHash | None = None
    start: bool = True
    autostart: bool = False


class _OnContainer(_Params):
    name: ContainerName


class Start(_OnContainer):
    kind: Literal[Kind.START] = Kind.START


class Stop(_OnContainer):
    """Clean power-off; hard stop after `timeout_s` seconds."""

    kind: Literal[Kind.STOP] = Kind.STOP
    timeout_s: int = Field(default=90, ge=1, le=600)


class Restart(_OnContainer):
    kind: Literal[Kind.RESTART] = Kind.RESTART
    timeout_s: int = Field(default=90, ge=1, le=600)


class Kill(_OnContainer):
    """Hard stop: every process is killed at once, as by pulling the plug."""

    kind: Literal[Kind.KILL] = Kind.KILL


class Enable(_OnContainer):
    kind: Literal[Kind.ENABLE] = Kind.ENABLE


class Disable(_OnContainer):
    kind: Literal[Kind.DISABLE] = Kind.DISABLE


class SetPassword(_OnContainer):
    kind: Literal[Kind.SET_PASSWORD] = Kind.SET_PASSWORD
    root_password_hash: CryptHash


class Remove(_OnContainer):
    """Stop and remove the container with all its data and settings. Removing what is not there succeeds.

    With `only_managed` a machine that somebody made by hand under this name stays: the portal asks so for a
    container that, as far as it knows, was never made.
    """

    kind: Literal[Kind.REMOVE] = Kind.REMOVE
    only_managed: bool = False


class Inventory(_Params):
    kind: Literal[Kind.INVENTORY] = Kind.INVENTORY


Params = Annotated[
    BuildImage | Create | Start | Stop | Restart | Kill | Enable | Disable | SetPassword | Remove | Inventory,
    Field(discriminator="kind"),
]
PARAMS: TypeAdapter[Params] = TypeAdapter(Params)


class Order(BaseModel):
    """One signed order. `expires` is UTC; a past one is refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    protocol: Literal[PROTOCOL] = PROTOCOL  # type: ignore[valid-type]
    job: UUID
    host: UUID
    issued: datetime
    expires: datetime
    params: Params


SECRET_FIELDS = frozenset({"root_password_hash"})
"""Fields of parameters that no page, event, log line or shown command may carry."""
