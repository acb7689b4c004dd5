"""Enrolment: a key pair of this host's own, a certificate for it, and whom to trust from then on."""

from __future__ import annotations

import os
import shutil
import socket
from pathlib import Path
from typing import Any
from uuid import uuid4

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_public_key,
)
from cryptography.x509.oid import NameOID
from pydantic import ValidationError

from agent import pinned, rename
from agent.config import FILE, Config, write_private
from agent.errors import AgentError, ConfigError
from agent.pinned import Trust
from contract import PROTOCOL
from contract.live import EnrolRequest, EnrolResponse, HostFacts


class EnrolmentRefused(AgentError):
    """The portal said no."""

    code = "enrolment_refused"
    hint = "Make a new line in the portal with Hosts, Add host."


def enrol(url: str, token: str, trust: Trust, facts: HostFacts, directory: Path, *, force: bool = False) -> Config:
    """Enrol with the portal at `url` and write `directory`. Raises ConfigError if it is enrolled already."""
    if (directory / FILE).exists() and not force:
        raise ConfigError(
            "This host is enrolled already.",
            why=f"{directory / FILE} exists.",
            hint="Use --force to enrol it anew; the portal then knows it as another host.",
            code="already_enrolled",
        )
    url = url.rstrip("/")
    key = ec.generate_private_key(ec.SECP256R1())
    request = EnrolRequest(protocol=PROTOCOL, token=token, csr=_csr(key), facts=facts)
    answer = pinned.request(f"{url}/agent/enrol", trust, method="POST", document=request.model_dump_json())
    response = _response(answer)
    _check(response, key)
    return _write(directory, url, key, response)


def _csr(key: ec.EllipticCurvePrivateKey) -> str:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, socket.gethostname()[:64] or "host")])
    csr = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    return csr.public_bytes(Encoding.PEM).decode()


def _response(answer: pinned.Answer) -> EnrolResponse:
    body = answer.body if isinstance(answer.body, dict) else {}
    if answer.status not in (200, 201):
        raise _refusal(answer.status, body)
    if body.get("protocol") != PROTOCOL:
        raise EnrolmentRefused(
            "Portal and agent do not speak the same version.",
            why=f"The portal speaks {str(body.get('protocol'))[:20]}, this agent {PROTOCOL}.",
            hint="Install the agent that this portal serves.",
            code="protocol",
        )
    try:
        return EnrolResponse.model_validate(body)
    except ValidationError as error:
        fields = ", ".join(str(problem["loc"][0]) for problem in error.errors() if problem["loc"])
        raise EnrolmentRefused(
            "The portal's answer cannot be understood.", why=f"Wrong or missing: {fields}."
        ) from None


def _refusal(status: int, body: dict[str, Any]) -> EnrolmentRefused:
    """In the portal's own words where it gave some (RFC 9457)."""
    words = {key: str(body[key])[:500] for key in ("title", "detail", "what", "why", "hint", "code") if body.get(key)}
    what = words.get("what") or words.get("title") or f"The portal refused the enrolment with status {status}."
    why = words.get("why") or words.get("detail") or ""
    if status == 404 and not words:
        why = "There is no enrolment at this address: it may not be the portal's address for hosts."
    return EnrolmentRefused(what, why=why, hint=words.get("hint", ""), code=words.get("code", ""))


def _check(response: EnrolResponse, key: ec.EllipticCurvePrivateKey) -> None:
    """All that will be trusted can be read, and the certificate is for our key."""
    try:
        certificate = x509.load_pem_x509_certificate(response.certificate.encode())
        x509.load_pem_x509_certificates(response.ca.encode())
        x509.load_pem_x509_certificate(response.order_certificate.encode())
        live_key = load_pem_public_key(response.live_key.encode())
    except ValueError as error:
        raise EnrolmentRefused("The portal's answer holds a broken certificate or key.", why=str(error)) from error
    public = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if certificate.public_key().public_bytes(*public) != key.public_key().public_bytes(*public):
        raise EnrolmentRefused("The portal's certificate is for another key.")
    if not isinstance(live_key, Ed25519PublicKey):
        raise EnrolmentRefused("The portal's key for live requests is not an Ed25519 key.")


def _write(directory: Path, url: str, key: ec.EllipticCurvePrivateKey, response: EnrolResponse) -> Config:
    """A whole new directory, then exchanged for the old one: never half of each."""
    fresh = directory.with_name(f".{directory.name}.{uuid4().hex[:8]}")
    directory.parent.mkdir(parents=True, exist_ok=True)
    fresh.mkdir(mode=0o700)
    try:
        config = Config(
            host=response.host,
            name=response.name,
            portal_url=url,
            redis_host=response.redis_host,
            redis_port=response.redis_port,
            redis_user=response.redis_user,
            redis_password=response.redis_password,
            directory=directory,
        )
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
        files = {
            config.ca.name: response.ca,
            config.certificate.name: response.certificate,
            config.key.name: pem,
            config.order_certificate.name: response.order_certificate,
            config.live_key.name: response.live_key,
            FILE: config.as_json(),
        }
        for name, text in files.items():
            write_private(fresh / name, text)
        rename.put_in_place(fresh, directory)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return config


def forget(directory: Path) -> None:
    """Remove keys and certificates (uninstall)."""
    if os.path.lexists(directory):
        shutil.rmtree(directory)
