"""HTTPS to the portal: verified by a pinned public key, by a CA file, or by the system's CAs; over one connection."""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import json
import re
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from agent import VERSION
from agent.errors import AgentError

_ANSWER_MAX = 1024 * 1024
_PIN = re.compile(r"sha256//[A-Za-z0-9+/]{43}=")
TIMEOUT_S = 20.0


class WrongPin(AgentError):
    code = "wrong_pin"


class Unreachable(AgentError):
    code = "portal_unreachable"
    hint = "Check the address, and that this host may connect to it (firewall, proxy)."


@dataclass(frozen=True)
class Trust:
    """How the portal is known: `pin` is sha256//BASE64 of its public key, as of curl's --pinnedpubkey."""

    pin: str = ""
    ca: Path | None = None

    def __post_init__(self) -> None:
        if self.pin and not _PIN.fullmatch(self.pin):
            raise AgentError(f"{self.pin!r} is not a pin.", hint="A pin looks like sha256//BASE64=.", code="bad_pin")

    def context(self) -> ssl.SSLContext:
        """With a pin the key itself is what counts: neither name nor issuer of the certificate do."""
        if not self.pin:
            return ssl.create_default_context(cafile=str(self.ca) if self.ca else None)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        return context


def pin_of(der: bytes) -> str:
    """The pin of a certificate: SHA-256 of its SubjectPublicKeyInfo (RFC 7469, 2.4)."""
    key = x509.load_der_x509_certificate(der).public_key()
    digest = hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).digest()
    return "sha256//" + base64.b64encode(digest).decode()


class _Connection(http.client.HTTPSConnection):
    """Checks the pin after the handshake, before a byte of the request is sent."""

    def __init__(self, host: str, port: int, trust: Trust) -> None:
        super().__init__(host, port, timeout=TIMEOUT_S, context=trust.context())
        self._pin = trust.pin

    def connect(self) -> None:
        super().connect()
        if not self._pin:
            return
        found = pin_of(self.sock.getpeercert(True) or b"")
        if not hmac.compare_digest(found, self._pin):
            self.close()
            raise WrongPin(
                "This is not the portal that you meant.",
                why=f"Its key is {found}, the pin says {self._pin}.",
                hint="Copy the line from the portal anew. If it stays so, somebody sits between this host and it.",
            )


@dataclass(frozen=True)
class Answer:
    status: int
    body: Any
    date: str


def request(url: str, trust: Trust, *, method: str = "GET", document: str | None = None) -> Answer:
    """One request; the answer's JSON, or None where it is none. Raises Unreachable, WrongPin."""
    parts = urlsplit(url)
    if parts.scheme != "https" or not parts.hostname:
        raise AgentError(f"{url!r} is not an address of a portal.", hint="Write https://HOST:PORT.", code="bad_url")
    connection = _Connection(parts.hostname, parts.port or 443, trust)
    headers = {"Accept": "application/json", "User-Agent": f"nspawnweb-agent/{VERSION}"}
    if document is not None:
        headers["Content-Type"] = "application/json"
    try:
        connection.request(method, parts.path or "/", body=document, headers=headers)
        answer = connection.getresponse()
        raw = answer.read(_ANSWER_MAX)
        return Answer(answer.status, _json(raw), answer.headers.get("Date", ""))
    except ssl.SSLCertVerificationError as error:
        why = f"The certificate of {parts.netloc} does not verify: {error.verify_message}."
        raise Unreachable("The portal cannot be trusted.", why=why, hint="Give --pin or --ca.") from error
    except (OSError, http.client.HTTPException) as error:
        raise Unreachable(f"The portal at {parts.netloc} cannot be reached.", why=str(error)) from error
    finally:
        connection.close()


def _json(raw: bytes) -> Any:
    try:
        return json.loads(raw)
    except ValueError:
        return None
