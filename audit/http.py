"""What our views share about requests and answers. Here because every app may import this one."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django_htmx.middleware import HtmxDetails

from audit.paging import Page


class AuthedRequest(HttpRequest):
    """A request of somebody who is logged in: LoginRequiredMiddleware lets nobody else through."""

    user: User
    htmx: HtmxDetails


def render_page(
    request: HttpRequest, template: str, context: dict[str, Any], *, parts: Collection[str] = (), status: int = 200
) -> HttpResponse:
    """The whole page, or the one of its `parts` (partials in the same file) that `?part=` names."""
    part = request.GET.get("part", "")
    if part in parts:
        template = f"{template}#{part}"
    response = render(request, template, context, status=status)
    response["Cache-Control"] = "no-store"  # a page of states: the back button shows them as they are
    return response


def query_without(request: HttpRequest, *names: str) -> str:
    """The query string less some of its fields, for links that change one of them."""
    query = request.GET.copy()
    for name in names:
        query.pop(name, None)
    return query.urlencode()


def page_links(request: HttpRequest, page: Page[Any]) -> dict[str, str]:
    """Addresses of the neighbouring pages with the filter kept, for components/pagination.html; "" for none."""
    query = query_without(request, "after", "before", "part")
    start = f"?{query}&" if query else "?"
    return {
        "next": f"{start}after={page.next}" if page.next else "",
        "previous": f"{start}before={page.previous}" if page.previous else "",
    }
