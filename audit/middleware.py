"""Gives every request an id and notes where it comes from."""

from __future__ import annotations

import ipaddress
import uuid
from collections.abc import Awaitable, Callable

import structlog
from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.conf import settings
from django.http import HttpRequest, HttpResponseBase

from audit.context import request_context

HEADER = "X-Request-ID"
Response = HttpResponseBase | Awaitable[HttpResponseBase]


def client_ip(meta_ip: str, forwarded: str) -> str | None:
    """The client's address: the peer's, or behind our own proxies the last address that they did not add.

    `settings.TRUSTED_PROXIES` counts the proxies in front; with 0 a forwarded header is anybody's claim and ignored.
    """
    candidate = meta_ip
    hops = [part.strip() for part in forwarded.split(",") if part.strip()]
    proxies: int = settings.TRUSTED_PROXIES
    if proxies and len(hops) >= proxies:
        candidate = hops[-proxies]
    try:
        return str(ipaddress.ip_address(candidate.partition("%")[0]))
    except ValueError:
        return None


class RequestContextMiddleware:
    """First in the list: audit rows and log lines below carry the id that the response shows in X-Request-ID.

    An id from outside is not taken over: it could make two requests look like one in the audit trail.
    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Response]) -> None:
        self.get_response = get_response
        self.is_async = iscoroutinefunction(get_response)
        if self.is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> Response:
        if self.is_async:
            return self._async(request)
        request_id, ip = self._of(request)
        with request_context(request_id, ip), structlog.contextvars.bound_contextvars(request_id=request_id):
            response = self.get_response(request)
            assert isinstance(response, HttpResponseBase)  # noqa: S101 - a sync chain
            response[HEADER] = request_id
            return response

    async def _async(self, request: HttpRequest) -> HttpResponseBase:
        request_id, ip = self._of(request)
        with request_context(request_id, ip), structlog.contextvars.bound_contextvars(request_id=request_id):
            answer = self.get_response(request)
            assert not isinstance(answer, HttpResponseBase)  # noqa: S101 - an async chain
            response = await answer
            response[HEADER] = request_id
            return response

    @staticmethod
    def _of(request: HttpRequest) -> tuple[str, str | None]:
        meta = request.META
        return uuid.uuid4().hex, client_ip(meta.get("REMOTE_ADDR", ""), meta.get("HTTP_X_FORWARDED_FOR", ""))
