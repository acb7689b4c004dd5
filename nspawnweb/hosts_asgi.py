"""The ASGI application of the hosts' listener: /agent/ and nothing else, with small bodies only.

That listener faces whole networks by default while the pages may be kept to loopback or behind a proxy, so it must not
serve a login page, however well that is guarded.
"""

from __future__ import annotations

import json
import os
from collections.abc import Awaitable, Callable
from typing import Any

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "nspawnweb.settings")

Scope = dict[str, Any]
Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
BODY_MAX = 1024 * 1024

_portal = get_asgi_application()


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    """Pass on what hosts may ask; answer the rest here."""
    if scope["type"] == "lifespan":
        return
    if scope["type"] != "http":
        await receive()
        await send({"type": "websocket.close", "code": 1008})
        return
    refusal = _refusal(scope)
    if refusal is None:
        await _portal(scope, receive, send)  # type: ignore[arg-type]
    else:
        await _answer(send, *refusal)


def _refusal(scope: Scope) -> tuple[int, str] | None:
    if not scope["path"].startswith("/agent/"):
        return 404, "This address serves hosts. The portal's pages are elsewhere."
    if scope["method"] in {"GET", "HEAD"}:
        return None
    lengths = [value for name, value in scope["headers"] if name == b"content-length"]
    if len(lengths) != 1 or not lengths[0].isdigit():
        return 411, "Say how long the body is (Content-Length)."
    return (413, "The body is too large.") if int(lengths[0]) > BODY_MAX else None


async def _answer(send: Send, status: int, what: str) -> None:
    body = json.dumps({"code": "refused", "what": what, "why": "", "hint": ""}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": [*headers, (b"connection", b"close")]})
    await send({"type": "http.response.body", "body": body})
