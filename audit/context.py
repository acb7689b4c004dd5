"""Where a request comes from, for audit rows and log lines: set by the middleware, read anywhere below."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True)
class RequestContext:
    request_id: str = ""
    ip: str | None = None


_EMPTY = RequestContext()
_context: ContextVar[RequestContext] = ContextVar("audit_request_context", default=_EMPTY)


def current() -> RequestContext:
    """The context of this request, or an empty one outside of any."""
    return _context.get()


@contextmanager
def request_context(request_id: str = "", ip: str | None = None) -> Iterator[RequestContext]:
    """Everything inside belongs to this request. WebSocket consumers use it too."""
    context = RequestContext(request_id, ip)
    token = _context.set(context)
    try:
        yield context
    finally:
        _context.reset(token)
