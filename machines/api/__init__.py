"""The HTTP API at /api/v1: the same services and permissions as the pages, for programs."""

from __future__ import annotations

from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from django.urls import URLPattern, URLResolver
from ninja import NinjaAPI, Router

from machines.api import containers, hosts, jobs, problems
from machines.api.auth import BearerToken, BrowserSession

DESCRIPTION = """
Make and run systemd-nspawn containers. Send `Authorization: Bearer TOKEN`; what you may do is what your account may do.

Whatever takes time answers 202 with a job: follow `GET jobs/{id}` until its state is `succeeded`, `failed` or
`cancelled`. Lists come in pages: send `next` back as `cursor`. Errors are problem documents (RFC 9457,
`application/problem+json`) whose `code` is stable. What you may not see is a 404.
"""
METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"]


class PortalAPI(NinjaAPI):
    """ninja's API, of which also 404 and 405 are problem documents, and whose schema tells of errors."""

    def _get_urls(self) -> list[URLResolver | URLPattern]:
        found = super()._get_urls()
        for pattern in found:
            if isinstance(pattern, URLPattern):
                pattern.callback = problems.problem_view(pattern.callback)
        return found

    def get_openapi_schema(self, *args: Any, **kwargs: Any) -> Any:
        schema = super().get_openapi_schema(*args, **kwargs)
        problems.describe(schema)
        return schema


api = PortalAPI(
    title="nspawnweb",
    version="1",
    description=DESCRIPTION,
    auth=[BearerToken(), BrowserSession()],
)
problems.install(api)
_rest = Router()


@_rest.api_operation(METHODS, "/{path:rest}", auth=None, include_in_schema=False)
def nothing_here(request: HttpRequest, rest: str) -> HttpResponse:
    """Every other address below the API."""
    raise Http404


for _router in (hosts.router, containers.router, jobs.router, _rest):
    api.add_router("", _router)
