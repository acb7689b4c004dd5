"""All addresses of the portal."""

from django.http import Http404, HttpRequest, HttpResponse
from django.urls import URLPattern, URLResolver, include, path, re_path

from machines.api import api
from nspawnweb.health import healthz


def closed(request: HttpRequest) -> HttpResponse:
    """Pages of allauth that this portal does not offer: sign-up by oneself, and what needs mail."""
    raise Http404


urlpatterns: list[URLPattern | URLResolver] = [
    re_path(r"^accounts/(?:signup|email|confirm-email|phone|password/(?:reset|set)|login/code)/", closed),
    path("healthz", healthz),
    path("agent/", include("machines.agent_urls")),
    path("accounts/", include("allauth.account.urls")),
    path("api/v1/", api.urls),
    path("", include("machines.urls")),
    path("", include("tasks.urls")),
    path("", include("teams.urls")),
    path("", include("audit.urls")),
]
