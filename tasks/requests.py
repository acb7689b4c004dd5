"""Live requests to a host: signed with Ed25519, good for some seconds, in the host's own stream."""

from __future__ import annotations

import base64
import uuid
from datetime import timedelta
from functools import lru_cache

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.conf import settings
from django.utils import timezone

from contract import keys
from contract.live import REQUEST_LIFETIME_S, Envelope, Request, SignedRequest
from tasks import pki
from tasks.redis import aclient, client


@lru_cache(maxsize=1)
def _key(path: str) -> Ed25519PrivateKey:
    return pki.live_key()


def envelope(host_id: uuid.UUID, request: Request, *, lifetime_s: float = REQUEST_LIFETIME_S) -> Envelope:
    """Sign `request` for one host; it expires after `lifetime_s` seconds."""
    signed = SignedRequest(
        id=uuid.uuid4(),
        host=host_id,
        expires=timezone.now() + timedelta(seconds=lifetime_s),
        request=request,
    )
    payload = signed.model_dump_json()
    # The folder is the cache's key: a key belongs to its folder, and tests have their own.
    signature = _key(str(settings.PKI_DIR)).sign(payload.encode())
    return Envelope(payload=payload, signature=base64.b64encode(signature).decode())


def send_request(host_id: uuid.UUID, request: Request) -> None:
    """Put a signed request into the host's stream. Raises redis.RedisError if Redis is down."""
    fields = {keys.FIELD: envelope(host_id, request).model_dump_json()}
    client().xadd(keys.live_in(host_id), fields, maxlen=keys.LIVE_IN_MAX, approximate=True)  # type: ignore[arg-type]


async def asend_request(host_id: uuid.UUID, request: Request) -> None:
    """As `send_request`, from an event loop."""
    fields = {keys.FIELD: envelope(host_id, request).model_dump_json()}
    await aclient().xadd(keys.live_in(host_id), fields, maxlen=keys.LIVE_IN_MAX, approximate=True)  # type: ignore[arg-type]
