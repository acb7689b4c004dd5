"""The addresses that a host uses before it has a name here. They take no session; enrolment takes a one-time token.

They answer over TLS, or on this very machine: a token and a Redis password never cross a network in the clear.
"""

from __future__ import annotations

import ipaddress
from collections.abc import AsyncIterator, Callable
from functools import wraps
from pathlib import Path
from typing import BinaryIO

import redis
from asgiref.sync import sync_to_async
from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse, StreamingHttpResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_GET, require_POST
from pydantic import ValidationError

from audit.context import current
from contract.live import EnrolRequest
from machines.services import enrolment
from tasks.redis import client
from teams.errors import Invalid, PortalError, Unavailable

BODY_MAX = 256 * 1024
CHUNK = 256 * 1024
ATTEMPTS_A_MINUTE = 30
"""From one address. Tokens cannot be guessed; this only bounds the work that a stranger can cause."""

View = Callable[[HttpRequest], HttpResponseBase]


def for_hosts(view: View) -> View:
    """TLS or loopback only; errors as JSON that a shell user can read: code, what, why, hint."""

    @wraps(view)
    def inner(request: HttpRequest) -> HttpResponseBase:
        try:
            if not request.is_secure() and not _is_loopback(request.META.get("REMOTE_ADDR", "")):
                raise PortalError(
                    "tls_needed",
                    "Hosts reach the portal by HTTPS alone.",
                    hint="Use the line from Hosts, Add host as it is.",
                    status=403,
                )
            return view(request)
        except PortalError as error:
            return _problem(error)

    return login_not_required(inner)


@require_GET
@for_hosts
def install_script(request: HttpRequest) -> HttpResponseBase:
    """The installer, a POSIX shell script; it checks the bundle's SHA-256 before anything of it runs."""
    script: Path = settings.BASE_DIR / "agent" / "packaging" / "install.sh"
    return HttpResponse(script.read_text(), content_type="text/x-shellscript; charset=utf-8")


@require_GET
@for_hosts
def bundle(request: HttpRequest) -> HttpResponseBase:
    """The agent and its wheels, streamed in pieces."""
    path = enrolment.bundle_path()
    response = StreamingHttpResponse(_pieces(path), content_type="application/x-tar")
    response["Content-Length"] = str(path.stat().st_size)
    return response


@csrf_exempt
@require_POST
@for_hosts
def enrol(request: HttpRequest) -> HttpResponseBase:
    """EnrolRequest -> EnrolResponse (contract.live)."""
    ip = current().ip
    _count_attempt(ip or "unknown")
    answer = enrolment.enrol(_enrol_request(request), seen_host=request.get_host(), ip=ip)
    response = HttpResponse(answer.model_dump_json(), content_type="application/json")
    response["Cache-Control"] = "no-store"
    return response


def _enrol_request(request: HttpRequest) -> EnrolRequest:
    body = request.read(BODY_MAX + 1)
    if len(body) > BODY_MAX:
        raise PortalError("too_large", "The request is too large.", f"More than {BODY_MAX} bytes.", status=413)
    try:
        return EnrolRequest.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise Invalid(
            "bad_request",
            "The request is not one of an agent of this version.",
            f"{where}: {first['msg']}",
            "Install the agent that this portal serves: make a new line with Hosts, Add host.",
        ) from error


def _count_attempt(ip: str) -> None:
    key = f"portal:enrol:{ip}"
    try:
        with client().pipeline() as pipe:
            pipe.incr(key)
            pipe.expire(key, 60, nx=True)
            count = int(pipe.execute()[0])
    except redis.RedisError as error:
        raise Unavailable(
            "redis_unavailable",
            "The portal cannot let hosts in just now.",
            "Its Redis does not answer.",
            "Try again soon.",
        ) from error
    if count > ATTEMPTS_A_MINUTE:
        raise PortalError("too_many", "Too many attempts.", hint="Wait a minute, then try again.", status=429)


async def _pieces(path: Path) -> AsyncIterator[bytes]:
    """An async iterator: a plain one would be read whole into memory under ASGI."""
    file = await sync_to_async(_open)(path)
    try:
        while piece := await sync_to_async(file.read)(CHUNK):
            yield piece
    finally:
        await sync_to_async(file.close)()


def _open(path: Path) -> BinaryIO:
    return path.open("rb")


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def _problem(error: PortalError) -> JsonResponse:
    body = {"code": error.code, "what": error.what, "why": error.why, "hint": error.hint}
    return JsonResponse(body, status=error.status)
