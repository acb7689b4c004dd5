"""How a host comes in: a one-time token, a line to paste, and the exchange that makes it a host of this portal."""

from __future__ import annotations

import hashlib
import secrets
import shlex
from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from urllib.parse import urlsplit

from django.conf import settings
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils import timezone

from audit.services import record
from contract import PROTOCOL
from contract.live import EnrolRequest, EnrolResponse
from machines.models import EnrolmentToken, Host
from tasks import hostlink, notify, pki
from tasks.addresses import primary_address
from teams.errors import Conflict, Invalid, PermissionDenied, Unavailable
from teams.permissions import Permission, require

TOKEN_LIFETIME = timedelta(minutes=30)
BUNDLE = "bundle.tar"


@transaction.atomic
def token_create(*, by: User, host_name: str) -> tuple[EnrolmentToken, str]:
    """A token that lets one host in as `host_name` within 30 minutes. Returns the row and the token, shown once.

    Raises Invalid for a name that breaks the rule, Conflict for one that an enrolled host has.
    """
    require(by, Permission.HOST_MANAGE)
    _check_name(host_name)
    plain = secrets.token_urlsafe(32)
    token = EnrolmentToken.objects.create(
        digest=_digest(plain), host_name=host_name, by=by, expires_at=timezone.now() + TOKEN_LIFETIME
    )
    record(by=by, action="host.token", object_type="host", object_name=host_name)
    return token, plain


def install_line(token_plain: str, *, agent_url: str = "") -> str:
    """What an operator pastes into a root shell of the new host: fetch the installer from us alone, then run it.

    It goes to a file first: a pipe would run half a script when the network breaks, and nothing, successfully, when
    the pin does not match. `agent_url` replaces the address that hosts are told by default. Without a token the line
    upgrades the agent of a host that is enrolled.
    Raises Unavailable if the agent's bundle has not been built.
    """
    url, pin = (agent_url or default_agent_url()).rstrip("/"), pki.pin()
    fetch = shlex.join(["curl", "-fsSk", "--pinnedpubkey", pin, f"{url}/agent/install.sh"])
    values = ["--portal", url, "--pin", pin, "--bundle-sha256", bundle_sha256()]
    values += ["--token", token_plain] if token_plain else ["--upgrade"]
    return f'f=$(mktemp) && {fetch} -o "$f" && sh "$f" {shlex.join(values)}'


def default_agent_url() -> str:
    """Where hosts reach this portal: as set, else the address of this machine that others most likely reach."""
    if settings.AGENT_URL:
        return str(settings.AGENT_URL)
    address = primary_address()
    return (
        f"https://[{address}]:{settings.AGENT_PORT}" if ":" in address else f"https://{address}:{settings.AGENT_PORT}"
    )


def bundle_path() -> Path:
    """The agent with all its wheels, one tar file. Raises Unavailable if it has not been built."""
    path: Path = settings.AGENT_BUNDLE_DIR / BUNDLE
    if not path.is_file():
        raise Unavailable(
            "no_bundle",
            "This portal has no agent to hand out.",
            f"{path} does not exist.",
            "An administrator of the portal builds it: `./dev up` does, or `python -m agent.packaging.bundle`.",
        )
    return path


def bundle_sha256() -> str:
    """SHA-256 of the bundle in hex; read again only when the file changed."""
    path = bundle_path()
    about = path.stat()
    return _file_sha256(path, about.st_mtime_ns, about.st_size)


@transaction.atomic
def enrol(request: EnrolRequest, *, seen_host: str, ip: str | None) -> EnrolResponse:
    """Let a host in: uses the token up, makes the host, its certificate and its Redis user, in one transaction.

    `seen_host` is the name by which the host reached us, `ip` where it came from. If Redis does not answer, all is
    undone and the token stays good. A host that was revoked comes back as the same host.
    Raises PermissionDenied for a token that is unknown, used or too old, Conflict, Invalid, Unavailable.
    """
    if request.protocol != PROTOCOL:
        raise Conflict(
            "protocol",
            "The agent and the portal do not speak the same version.",
            f"The agent speaks version {request.protocol}, this portal version {PROTOCOL}.",
            "Install the agent that this portal serves: make a new line with Hosts, Add host.",
        )
    token = _use(request.token)
    host = _host(token.host_name)
    certificate = pki.issue_host_certificate(request.csr, host.pk)
    host.certificate_fingerprint = pki.fingerprint(certificate)
    host.enrolled_at, host.revoked_at, host.last_seen = timezone.now(), None, None
    host.facts = request.facts.model_dump(mode="json")
    host.save()
    EnrolmentToken.objects.filter(pk=token.pk).update(host=host)
    detail = {"certificate": host.certificate_fingerprint, "from": ip, "hostname": request.facts.hostname}
    record(by=token.by, action="host.enrol", obj=host, actor_name=f"host:{host.name}", detail=detail)
    notify.changed("hosts", f"host:{host.pk}")
    user, password = hostlink.grant(host.pk)
    return EnrolResponse(
        protocol=PROTOCOL,
        host=host.pk,
        name=host.name,
        ca=pki.ca_path().read_text(),
        certificate=certificate,
        order_certificate=pki.order_certificate_path().read_text(),
        live_key=pki.live_public_pem(),
        redis_host=settings.AGENT_REDIS_HOST or _bare(seen_host),
        redis_port=settings.REDIS_HOST_PORT,
        redis_user=user,
        redis_password=password,
    )


def _use(plain: str) -> EnrolmentToken:
    """Use a token up by one conditional UPDATE: of two that come at once, one gets in."""
    now = timezone.now()
    found = EnrolmentToken.objects.filter(digest=_digest(plain))
    if found.filter(used_at=None, expires_at__gt=now).update(used_at=now) != 1:
        token = found.first()
        why = "It is not a token of this portal."
        if token is not None:
            why = "It has been used." if token.used_at else f"It was good until {token.expires_at:%H:%M} UTC."
        raise PermissionDenied("The token does not let this host in.", why, "Make a new line with Hosts, Add host.")
    return found.select_related("by").get()


def _host(name: str) -> Host:
    """The row for a host that comes in: a new one, or that of a revoked host of this name."""
    host = Host.objects.select_for_update().filter(name=name).first()
    if host is not None and host.revoked_at is None:
        raise _taken(name)
    return host or Host(name=name)


def _check_name(name: str) -> None:
    try:
        Host._meta.get_field("name").clean(name, None)
    except ValidationError as error:
        raise Invalid("host_name", "The name cannot be a host's.", " ".join(error.messages), field="name") from error
    if Host.objects.filter(name=name, revoked_at__isnull=True).exists():
        raise _taken(name)


def _taken(name: str) -> Conflict:
    return Conflict(
        "host_name_taken",
        f"A host named {name} is enrolled already.",
        hint=f"Choose another name, or revoke {name} first if this is the same machine installed anew.",
    )


def _digest(plain: str) -> str:
    return hashlib.sha256(plain.encode()).hexdigest()


def _bare(seen_host: str) -> str:
    """A Host header without its port and brackets."""
    return urlsplit(f"//{seen_host}").hostname or primary_address()


@lru_cache(maxsize=4)
def _file_sha256(path: Path, mtime_ns: int, size: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
