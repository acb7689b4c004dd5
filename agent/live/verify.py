"""Which live requests are obeyed: signed by the pinned key, for this host, in time, and never twice.

Redis is not trusted. Whoever holds it can drop, repeat, reorder and invent messages, but not sign them.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from pydantic import ValidationError

from agent.errors import ConfigError
from contract import PROTOCOL
from contract.live import Envelope, Request, SignedRequest, TerminalInput

LIFETIME_MAX = timedelta(minutes=10)
"""A request that claims to live longer is refused: its id would have to be remembered as long."""


class RefusedRequest(Exception):
    """A request that is not obeyed. `code` is stable, `why` is for a person."""

    def __init__(self, code: str, why: str) -> None:
        super().__init__(why)
        self.code = code
        self.why = why


class StaleRequest(RefusedRequest):
    """It was sent in time and met us too late, as after a restart: no attack, and nobody waits for it any more."""


def load_key(file: Path) -> Ed25519PublicKey:
    """The portal's public key as PEM. Raises ConfigError."""
    try:
        key = load_pem_public_key(file.read_bytes())
    except (OSError, ValueError) as error:
        raise ConfigError("The key that verifies live requests cannot be read.", why=f"{file}: {error}") from error
    if not isinstance(key, Ed25519PublicKey):
        raise ConfigError("The key that verifies live requests is of the wrong kind.", why=f"{file}: not Ed25519")
    return key


class Gate:
    """`seen(id, expires)` remembers an id and says whether it came before (agent.store.Store.seen_request)."""

    def __init__(self, host: UUID, key: Ed25519PublicKey, seen: Callable[[UUID, datetime], bool]) -> None:
        self._host = host
        self._key = key
        self._seen = seen

    def admit(self, raw: bytes, *, sent: datetime | None = None) -> Request:
        """The request in an Envelope's JSON. `sent` is when Redis took it. Raises RefusedRequest.

        Terminal input is not looked up by id, which would cost a disk write a keystroke: its session takes
        rising numbers only.
        """
        signed = self._signed(raw)
        if signed.host != self._host:
            raise RefusedRequest("wrong_host", f"The request is for host {signed.host}, and this is {self._host}.")
        self._check_time(signed.expires, sent)
        if not isinstance(signed.request, TerminalInput) and self._seen(signed.id, signed.expires):
            raise RefusedRequest("replayed", f"Request {signed.id} came before.")
        return signed.request

    def _signed(self, raw: bytes) -> SignedRequest:
        try:
            envelope = Envelope.model_validate_json(raw)
            signature = base64.b64decode(envelope.signature, validate=True)
        except (ValidationError, binascii.Error) as error:
            raise RefusedRequest("malformed", f"Not a signed envelope: {_brief(error)}") from None
        payload = envelope.payload.encode("utf-8", "surrogatepass")
        try:
            self._key.verify(signature, payload)
        except InvalidSignature:
            raise RefusedRequest("bad_signature", "The portal's key did not sign this request.") from None
        return _parse(payload)

    def _check_time(self, expires: datetime, sent: datetime | None) -> None:
        now = datetime.now(UTC)
        if expires.tzinfo is None:
            raise RefusedRequest("malformed", "The request's expiry has no time zone.")
        if expires <= now:
            why = f"The request expired {(now - expires).total_seconds():.0f} s ago by this host's clock."
            raise (StaleRequest if sent is not None and sent < expires else RefusedRequest)("expired", why)
        if expires > now + LIFETIME_MAX:
            raise RefusedRequest("lifetime", "The request lives too long. Do the clocks of portal and host agree?")


def _parse(payload: bytes) -> SignedRequest:
    """A signed payload. Another protocol is told apart from plain nonsense, since a person must update something."""
    try:
        return SignedRequest.model_validate_json(payload)
    except ValidationError as error:
        try:
            protocol = json.loads(payload)["protocol"]
        except (ValueError, KeyError, TypeError, RecursionError):
            protocol = PROTOCOL
        if protocol != PROTOCOL:
            why = f"The portal speaks protocol {str(protocol)[:20]}, this agent {PROTOCOL}. Update the agent."
            raise RefusedRequest("protocol", why) from None
        raise RefusedRequest("malformed", f"Not a request: {_brief(error)}") from None


def _brief(error: Exception) -> str:
    """Where and what, without the input: it may be hostile, long or secret."""
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        return f"{'.'.join(str(part) for part in first['loc'])[:200]}: {first['msg'][:200]}"
    return str(error)[:200]
