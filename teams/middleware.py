"""What a refused act looks like: in a page, in a fragment, in JSON."""

from __future__ import annotations

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.shortcuts import render, resolve_url
from django.utils.deprecation import MiddlewareMixin

from audit.http import AuthedRequest
from teams.errors import PortalError


class PortalErrorMiddleware(MiddlewareMixin):
    """Tells a PortalError in its three parts: what happened, why, what to do."""

    def process_exception(self, request: AuthedRequest, exception: Exception) -> HttpResponseBase | None:
        if not isinstance(exception, PortalError):
            return None
        if request.htmx or request.headers.get("Accept", "").startswith("application/json"):
            # What htmx asked for becomes a toast of these parts (docs/ui.md).
            return JsonResponse(_parts(exception), status=exception.status)
        if exception.status == 404:
            return render(request, "404.html", {"error": exception}, status=404)
        return render(request, "error.html", {"error": exception}, status=exception.status)


class HtmxLoginMiddleware(MiddlewareMixin):
    """A fragment asked for after the session ended must not put the login form into the middle of a page."""

    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        target = response.headers.get("Location", "")
        if response.status_code != 302 or not request.headers.get("HX-Request"):
            return response
        if not target.startswith(resolve_url(settings.LOGIN_URL)):
            return response
        answer = HttpResponse(status=204)
        answer["HX-Refresh"] = "true"  # the whole page asks again, and comes back to itself after the login
        return answer


def _parts(error: PortalError) -> dict[str, str]:
    return {"code": error.code, "what": error.what, "why": error.why, "hint": error.hint}
