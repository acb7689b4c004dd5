"""Secrets of a job's parameters, encrypted at rest with a key derived from SECRET_KEY (HKDF, RFC 5869; Fernet)."""

from __future__ import annotations

import base64
import json
from functools import lru_cache
from typing import Any

from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings

from contract.orders import SECRET_FIELDS


class UnsealError(ValueError):
    """The secrets cannot be read: SECRET_KEY was changed since they were stored."""


@lru_cache(maxsize=2)
def _fernet(secret_key: str) -> Fernet:
    derived = HKDF(algorithm=SHA256(), length=32, salt=None, info=b"nspawnweb job secrets").derive(secret_key.encode())
    return Fernet(base64.urlsafe_b64encode(derived))


def split(params: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """(parameters without secrets, the sealed secrets or "")."""
    secret = {key: value for key, value in params.items() if key in SECRET_FIELDS and value is not None}
    public = {key: value for key, value in params.items() if key not in SECRET_FIELDS}
    if not secret:
        return public, ""
    return public, _fernet(settings.SECRET_KEY).encrypt(json.dumps(secret).encode()).decode()


def join(public: dict[str, Any], sealed: str) -> dict[str, Any]:
    """The parameters as they were before `split`. Raises UnsealError."""
    if not sealed:
        return dict(public)
    try:
        secret = json.loads(_fernet(settings.SECRET_KEY).decrypt(sealed.encode()))
    except InvalidToken as error:
        raise UnsealError("The job's secrets cannot be read any more: the portal's SECRET_KEY was changed.") from error
    return {**public, **secret}
