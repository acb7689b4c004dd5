"""Errors as problem documents: RFC 9457, `application/problem+json`."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import wraps
from http import HTTPStatus
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.http.response import HttpResponseBase
from ninja import NinjaAPI
from ninja.errors import HttpError, ValidationError
from pydantic import BaseModel, Field

from audit.context import current
from teams.errors import Invalid, PortalError

log = logging.getLogger(__name__)

TYPE_PREFIX = "urn:nspawnweb:problem:"
CONTENT_TYPE = "application/problem+json"
_CODES = {400: "bad_request", 401: "unauthenticated", 403: "permission_denied", 404: "not_found"}


class FieldError(BaseModel):
    """`field` is a path such as `name` or `packages.2`; empty where no single field is to blame."""

    field: str
    message: str


class Problem(BaseModel):
    """What went wrong. `code` is stable and meant for programs; `detail` and `hint` are meant for people."""

    type: str = Field(examples=[f"{TYPE_PREFIX}not_found"])
    title: str
    status: int
    detail: str
    code: str
    hint: str = ""
    errors: list[FieldError] = Field(default_factory=list)


class ApiProblem(PortalError):
    """A problem of the API itself, such as a bad token. `headers` go with the answer."""

    def __init__(
        self, code: str, what: str, *, hint: str = "", status: int, headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(code, what, hint=hint, status=status)
        self.headers = headers or {}


def problem(status: int, code: str, detail: str, *, hint: str = "", errors: Sequence[FieldError] = ()) -> HttpResponse:
    """The answer that tells of it. A 401 names the scheme that is wanted (RFC 9110, 11.6.1)."""
    document = Problem(
        type=f"{TYPE_PREFIX}{code}",
        title=HTTPStatus(status).phrase,
        status=status,
        detail=detail,
        code=code,
        hint=hint,
        errors=list(errors),
    )
    response = HttpResponse(document.model_dump_json(), content_type=CONTENT_TYPE, status=status)
    response["Cache-Control"] = "no-store"
    if status == HTTPStatus.UNAUTHORIZED:
        response["WWW-Authenticate"] = 'Bearer realm="nspawnweb"'
    return response


def of_portal_error(request: HttpRequest, error: PortalError) -> HttpResponse:
    """A rule of the services that does not allow the act."""
    detail = f"{error.what} {error.why}".strip()
    errors = [FieldError(field=error.field, message=detail)] if isinstance(error, Invalid) else []
    response = problem(error.status, error.code, detail, hint=error.hint, errors=errors)
    for name, value in getattr(error, "headers", {}).items():
        response[name] = value
    return response


def of_validation(request: HttpRequest, error: ValidationError) -> HttpResponse:
    """A body or query that does not fit the schema; never repeats the value, which may be a password."""
    errors = [FieldError(field=_path(item.get("loc", ())), message=_message(item)) for item in error.errors]
    detail = "; ".join(f"{item.field}: {item.message}" if item.field else item.message for item in errors[:5])
    hint = "The fields and their rules are in the OpenAPI document of this API."
    return problem(422, "invalid", detail or "The request does not fit the schema.", hint=hint, errors=errors)


def _path(loc: Sequence[Any]) -> str:
    """ninja's place such as ("body", "data", "name") as the caller knows it: name."""
    parts = [str(part) for part in loc]
    if parts and parts[0] in {"body", "query", "path"}:
        parts = parts[2:] if parts[0] == "body" else parts[-1:]
    return ".".join(parts)


def _message(item: dict[str, Any]) -> str:
    if item.get("type") == "extra_forbidden":
        return "This field is not known here."
    return str(item.get("msg", "is not valid")).removeprefix("Value error, ")


def of_http_error(request: HttpRequest, error: HttpError) -> HttpResponse:
    status = error.status_code
    if status == HTTPStatus.UNAUTHORIZED:
        hint = "Send `Authorization: Bearer TOKEN`. A token comes from the profile page or the command api_token."
        return problem(status, "unauthenticated", "This needs a token, or a signed-in browser.", hint=hint)
    return problem(status, _CODES.get(status, "error"), str(error))


def of_404(request: HttpRequest, error: Http404) -> HttpResponse:
    return problem(404, "not_found", "There is nothing of this name that you may see.")


def of_unexpected(request: HttpRequest, error: Exception) -> HttpResponse:
    """A fault of ours: the traceback goes to the log, the caller gets what to quote."""
    log.exception("API request failed: %s %s", request.method, request.path)
    request_id = current().request_id
    quote = f" and quote request {request_id}" if request_id else ""
    return problem(500, "internal", "The portal met an unexpected error.", hint=f"Tell your operator{quote}.")


def install(api: NinjaAPI) -> None:
    """Every way out of the API with an error speaks problem+json."""
    handlers: list[tuple[type[Exception], Callable[..., HttpResponse]]] = [
        (Exception, of_unexpected),
        (Http404, of_404),
        (HttpError, of_http_error),
        (ValidationError, of_validation),
        (PortalError, of_portal_error),
    ]
    for kind, handler in handlers:
        api.add_exception_handler(kind, handler)


def problem_view(view: Callable[..., HttpResponseBase]) -> Callable[..., HttpResponseBase]:
    """The view with ninja's plain 405 told as a problem, and open to callers without a session.

    Those are the API's own affair: LoginRequiredMiddleware would send them to a page.
    """

    @wraps(view)
    def wrapped(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        try:
            response = view(request, *args, **kwargs)
        except Http404 as error:
            return of_404(request, error)
        if not isinstance(response, HttpResponseNotAllowed):
            return response
        allowed = response["Allow"]
        answer = problem(405, "method_not_allowed", f"{request.method} is not possible here; {allowed} is.")
        answer["Allow"] = allowed
        return answer

    wrapped.login_required = False  # type: ignore[attr-defined]
    wrapped.csrf_exempt = True  # type: ignore[attr-defined] # the session authenticator checks it itself
    return wrapped


def describe(schema: dict[str, Any]) -> None:
    """Say in an OpenAPI document that every operation may answer with a problem."""
    document = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    parts = document.pop("$defs", {})
    schema["components"]["schemas"] |= {**parts, "Problem": document}
    content = {CONTENT_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    for operations in schema["paths"].values():
        for operation in operations.values():
            operation["responses"]["default"] = {"description": "A problem", "content": content}
