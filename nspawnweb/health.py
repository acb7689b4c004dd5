"""Whether this process can do its work: for the supervisor, a proxy or a monitor. Tells nothing but yes or no."""

from __future__ import annotations

import redis
from django.contrib.auth.decorators import login_not_required
from django.db import DatabaseError, connection
from django.http import HttpRequest, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from tasks.redis import client


@login_not_required
@require_safe
@never_cache
def healthz(request: HttpRequest) -> JsonResponse:
    """200 if database and Redis answer, else 503."""
    well = {"database": _database(), "redis": _redis()}
    return JsonResponse(well, status=200 if all(well.values()) else 503)


def _database() -> bool:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except DatabaseError:
        return False
    return True


def _redis() -> bool:
    try:
        return bool(client().ping())
    except redis.RedisError:
        return False
