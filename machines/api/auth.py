"""Who calls: a bearer token, or the session of the browser that shows the documentation."""

from __future__ import annotations

import logging
import time

from django.conf import settings
from django.contrib.auth.models import User
from django.core.cache import cache
from django.http import HttpRequest
from ninja.security import APIKeyCookie, HttpBearer
from ninja.utils import check_csrf

from audit.context import current
from machines.api.problems import ApiProblem
from teams.services.tokens import token_user

log = logging.getLogger(__name__)

FAILURES_MAX = 20
"""Wrong tokens that one address may send within the window; the next ones are told to wait."""
WINDOW_S = 60


def caller(request: HttpRequest) -> User:
    """The person that an authenticator below let in."""
    user: User = request.auth  # type: ignore[attr-defined] # set by ninja from what authenticate() returned
    return user


class BearerToken(HttpBearer):
    """`Authorization: Bearer TOKEN` (RFC 6750). A good token always passes, whatever others at its address send."""

    openapi_bearerFormat = "opaque"

    def authenticate(self, request: HttpRequest, token: str) -> User:
        user = token_user(token)
        if user is not None:
            return user
        _count_failure()
        raise ApiProblem(
            "bad_token",
            "The token is not known, or it has expired.",
            hint="Make a new one: the profile page, or the command api_token.",
            status=401,
        )


class BrowserSession(APIKeyCookie):
    """The portal's own pages. Django's CSRF token is asked for on everything that changes something."""

    param_name = settings.SESSION_COOKIE_NAME

    def __init__(self) -> None:
        super().__init__(csrf=True)

    def _get_key(self, request: HttpRequest) -> str | None:
        """Without a session there is nothing to forge: such a caller hears 401, not of CSRF."""
        if not request.user.is_authenticated:
            return None
        if check_csrf(request) is not None:
            raise ApiProblem(
                "csrf",
                "The request carries a session, but no valid CSRF token.",
                hint="Send the header X-CSRFToken, or use a bearer token instead of the session.",
                status=403,
            )
        return request.COOKIES.get(self.param_name)

    def authenticate(self, request: HttpRequest, key: str | None) -> User | None:
        return request.user if isinstance(request.user, User) and key else None


def _count_failure() -> None:
    """Slow down guessing, and keep its log readable; counted by address in fixed windows."""
    address = current().ip or ""
    window, passed = divmod(time.time(), WINDOW_S)
    key = f"api:bad-token:{address}:{window:.0f}"
    cache.add(key, 0, timeout=WINDOW_S)
    try:
        failures = cache.incr(key)
    except ValueError:  # it expired between the two calls
        return
    if failures <= FAILURES_MAX:
        log.warning("wrong API token from %s (%s in this minute)", address, failures)
        return
    wait = int(WINDOW_S - passed) + 1
    raise ApiProblem(
        "too_many_attempts",
        f"{FAILURES_MAX} wrong tokens came from this address within a minute.",
        hint=f"Wait {wait} s, then send a valid token.",
        status=429,
        headers={"Retry-After": str(wait)},
    )
