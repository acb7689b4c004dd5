"""Which sites' pages may open a WebSocket here.

Browsers send cookies along from everywhere, so this is to sockets what the CSRF token is to forms.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from urllib.parse import SplitResult, urlsplit

import structlog
from channels.security.websocket import WebsocketDenier
from django.conf import settings
from django.http.request import split_domain_port, validate_host
from django.utils.http import is_same_domain

log = structlog.get_logger(__name__)

_PORTS = {"http": 80, "https": 443}


class OriginCheck:
    """ASGI middleware: refuses the handshake (403) unless `Origin` is this very host or a trusted origin.

    The same host means the `Host` header of the request, with its port. A missing Origin is refused: every browser
    sends one (RFC 6455, 4.1), and programs have the HTTP API.
    """

    def __init__(self, application: Any) -> None:
        self.application = application

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> Any:
        headers = {name: value.decode("latin1") for name, value in scope.get("headers", [])}
        origin, host = headers.get(b"origin", ""), headers.get(b"host", "")
        if allowed(origin, host):
            return await self.application(scope, receive, send)
        log.warning("websocket_origin_refused", origin=origin[:200], host=host[:200], path=scope.get("path", ""))
        return await WebsocketDenier()(scope, receive, send)


def allowed(origin: str, host: str) -> bool:
    """Whether a page of `origin` (scheme://host:port) may connect to `host` (name or name:port)."""
    parts = _split(origin)
    if parts is None:
        return False
    return _same_host(parts, host) or any(_trusted(parts, pattern) for pattern in _patterns())


def _patterns() -> Iterable[str]:
    trusted: list[str] = settings.CSRF_TRUSTED_ORIGINS
    return trusted


def _split(origin: str) -> SplitResult | None:
    """The parts of a well-formed http(s) origin; None for `null`, paths, users and bad ports."""
    try:
        parts = urlsplit(origin)
        well_formed = parts.scheme in _PORTS and parts.hostname and parts.port != 0
    except ValueError:
        return None
    bare = parts.netloc and not (parts.path or parts.query or parts.fragment) and "@" not in parts.netloc
    return parts if well_formed and bare else None


def _port(parts: SplitResult) -> int:
    return parts.port or _PORTS[parts.scheme]


def _same_host(origin: SplitResult, host: str) -> bool:
    name, port = split_domain_port(host)
    if not name or not validate_host(name, settings.ALLOWED_HOSTS or ["localhost", "127.0.0.1", "[::1]"]):
        return False
    origin_name, _ = split_domain_port(origin.netloc)
    return origin_name == name and _port(origin) == (int(port) if port else _PORTS[origin.scheme])


def _trusted(origin: SplitResult, pattern: str) -> bool:
    """As in CSRF_TRUSTED_ORIGINS: scheme, port and name equal; `https://*.example.com` means subdomains."""
    try:
        wanted = urlsplit(pattern)
        if wanted.scheme != origin.scheme or _port(wanted) != _port(origin):
            return False
    except ValueError:
        return False
    name = (wanted.hostname or "").lstrip("*") if "*" in wanted.netloc else wanted.hostname or ""
    return bool(name) and is_same_domain(origin.hostname or "", name)
