"""Live messages: heartbeats and inventory from the host; journals, terminals and cancels to it."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from contract import PROTOCOL
from contract.names import ContainerName

HEARTBEAT_S = 5.0
OFFLINE_AFTER_S = 15.0
INVENTORY_S = 60.0
JOURNAL_LEASE_S = 15
TERMINAL_LEASE_S = 900
"""A terminal outlives its last viewer by this long, so that a reload or a train tunnel costs nothing."""
REQUEST_LIFETIME_S = 30
INPUT_MAX = 64 * 1024


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid")


# --- host -> portal -------------------------------------------------------------------------------------------------


class CheckResult(StrEnum):
    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


class Check(_Model):
    """One line of the doctor: found, wanted, how to mend it."""

    key: str = Field(max_length=60)
    title: str = Field(max_length=120)
    result: CheckResult
    found: str = Field(max_length=500)
    wanted: str = Field(max_length=500)
    mend: str = Field(default="", max_length=1000)


class HostFacts(_Model):
    """What a host is. Sizes in bytes."""

    hostname: str = Field(max_length=255)
    agent_version: str = Field(max_length=40)
    os: str = Field(max_length=200)
    kernel: str = Field(max_length=200)
    arch: str = Field(max_length=40)
    systemd: str = Field(max_length=100)
    cpus: int = Field(ge=0)
    memory_bytes: int = Field(ge=0)
    pool_fs: str = Field(max_length=40)
    pool_bytes: int = Field(ge=0)
    boot_time: datetime
    checks: list[Check] = Field(default_factory=list, max_length=60)


class Metrics(_Model):
    """A sample of counters. `cpu_usec` is cumulative; rates are the reader's affair. None: cannot be known here."""

    cpu_usec: int | None = None
    memory_bytes: int | None = None
    memory_limit_bytes: int | None = None
    tasks: int | None = None
    io_read_bytes: int | None = None
    io_write_bytes: int | None = None
    net_rx_bytes: int | None = None
    net_tx_bytes: int | None = None


class HostMetrics(_Model):
    load1: float
    cpu_usec: int
    memory_used_bytes: int
    pool_used_bytes: int
    pool_free_bytes: int


class MachineState(StrEnum):
    """What the host sees of one container. `starting` until systemd inside has finished booting."""

    STOPPED = "stopped"
    STARTING = "starting"
    RUNNING = "running"
    DEGRADED = "degraded"
    STOPPING = "stopping"
    FAILED = "failed"


class MachineInfo(_Model):
    """`name` is not yet judged: a machine made by hand may be called anything that machined takes."""

    name: str = Field(max_length=64)
    state: MachineState
    enabled: bool = False
    addresses: list[str] = Field(default_factory=list, max_length=32)
    os: str = Field(default="", max_length=200)
    image_bytes: int | None = None
    started: datetime | None = None
    managed: bool = False
    """Made by a portal: the agent keeps a record of it."""


class ImageInfo(_Model):
    """A base image on the host."""

    slug: str = Field(max_length=48)
    fingerprint: str = Field(max_length=64)
    name: str = Field(max_length=64)
    built: datetime
    bytes: int | None = None


class Heartbeat(_Model):
    type: Literal["heartbeat"] = "heartbeat"
    at: datetime
    metrics: HostMetrics
    containers: dict[str, Metrics] = Field(default_factory=dict)


class InventoryReport(_Model):
    """Everything on the host. What is missing from `machines` is not there."""

    type: Literal["inventory"] = "inventory"
    at: datetime
    facts: HostFacts
    machines: list[MachineInfo] = Field(max_length=10_000)
    images: list[ImageInfo] = Field(max_length=1_000)


class MachineChanged(_Model):
    """One container's state as it changed, ahead of the next inventory. `info` None: it is gone."""

    type: Literal["machine"] = "machine"
    at: datetime
    name: str = Field(max_length=64)
    info: MachineInfo | None


StateMessage = Annotated[Heartbeat | InventoryReport | MachineChanged, Field(discriminator="type")]
STATE: TypeAdapter[StateMessage] = TypeAdapter(StateMessage)


# --- portal -> host -------------------------------------------------------------------------------------------------


class JournalSource(StrEnum):
    CONTAINER = "container"
    """The container's own journal, read by its own journalctl."""
    CONSOLE = "console"
    """What the host saw: the journal of systemd-nspawn@NAME.service."""


class JournalFollow(_Model):
    """Send `lines` last entries (or all after `cursor`), then follow while the lease lives."""

    kind: Literal["journal.follow"] = "journal.follow"
    session: UUID
    name: ContainerName
    source: JournalSource = JournalSource.CONTAINER
    cursor: str = Field(default="", max_length=512, pattern=r"^[A-Za-z0-9=;_-]*$")
    lines: int = Field(default=500, ge=0, le=10_000)


class TerminalOpen(_Model):
    kind: Literal["terminal.open"] = "terminal.open"
    session: UUID
    name: ContainerName
    user: str = Field(default="root", pattern=r"^[a-z_][a-z0-9_-]{0,31}$")
    cols: int = Field(default=80, ge=2, le=1000)
    rows: int = Field(default=24, ge=2, le=1000)


class TerminalInput(_Model):
    """Keystrokes. `seq` rises by any step; one that does not rise is a replay and is dropped."""

    kind: Literal["terminal.input"] = "terminal.input"
    session: UUID
    seq: int = Field(ge=1)
    data: str = Field(max_length=INPUT_MAX)
    """Base64 of the bytes."""


class TerminalResize(_Model):
    kind: Literal["terminal.resize"] = "terminal.resize"
    session: UUID
    cols: int = Field(ge=2, le=1000)
    rows: int = Field(ge=2, le=1000)


class SessionClose(_Model):
    kind: Literal["session.close"] = "session.close"
    session: UUID


class CancelJob(_Model):
    kind: Literal["job.cancel"] = "job.cancel"
    job: UUID


class ResendEvents(_Model):
    """Send the job's events after `after` again: the portal lacks them."""

    kind: Literal["job.resend"] = "job.resend"
    job: UUID
    after: int = Field(ge=0)


class ReportInventory(_Model):
    kind: Literal["inventory.report"] = "inventory.report"


Request = Annotated[
    JournalFollow
    | TerminalOpen
    | TerminalInput
    | TerminalResize
    | SessionClose
    | CancelJob
    | ResendEvents
    | ReportInventory,
    Field(discriminator="kind"),
]


class SignedRequest(BaseModel):
    """What is signed. `id` makes a replay visible; `expires` bounds how long it must be remembered."""

    model_config = ConfigDict(extra="forbid")

    protocol: Literal[PROTOCOL] = PROTOCOL  # type: ignore[valid-type]
    id: UUID
    host: UUID
    expires: datetime
    request: Request


class Envelope(_Model):
    """`payload` is the JSON text of a SignedRequest; `signature`: base64 of Ed25519 (RFC 8032) over its UTF-8 bytes."""

    payload: str = Field(max_length=256 * 1024)
    signature: str = Field(max_length=128)


# --- session output -------------------------------------------------------------------------------------------------


class JournalEntry(_Model):
    """One entry. `at` in microseconds since the epoch; `priority` as syslog(3), 0..7."""

    cursor: str
    at: int
    priority: int = Field(default=6, ge=0, le=7)
    unit: str = ""
    ident: str = ""
    pid: str = ""
    message: str


class Out(_Model):
    """A batch of one session. Exactly one of the fields below is set, `closed` ends the session."""

    entries: list[JournalEntry] | None = None
    data: str | None = None
    """Base64 of terminal output bytes."""
    closed: str | None = None
    """Why the session ended, fit for a person."""


class EnrolRequest(_Model):
    """POST /agent/enrol (JSON). `csr` is a PEM certificate request of the agent's key pair."""

    protocol: int
    token: str = Field(max_length=200)
    csr: str = Field(max_length=8192)
    facts: HostFacts


class EnrolResponse(_Model):
    """All that the agent pins and needs. Certificates and keys are PEM."""

    protocol: int
    host: UUID
    name: str
    ca: str
    """The portal's CA: verifies the portal's HTTPS and its Redis."""
    certificate: str
    """The agent's client certificate for Redis and the portal."""
    order_certificate: str
    """Verifies Celery messages (RSA)."""
    live_key: str
    """Ed25519 public key that verifies live requests."""
    redis_host: str
    redis_port: int
    redis_user: str
    redis_password: str


Json = dict[str, Any]
