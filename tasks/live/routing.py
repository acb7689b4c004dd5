"""Addresses of the WebSockets."""

from __future__ import annotations

from channels.security.websocket import WebsocketDenier
from django.urls import URLPattern, path, re_path

from tasks.live.jobs import JobEvents
from tasks.live.journal import Journal
from tasks.live.pages import LivePages
from tasks.live.terminal import Terminal

websocket_urlpatterns: list[URLPattern] = [
    path("ws/live/", LivePages.as_asgi()),
    path("ws/jobs/<uuid:job>/", JobEvents.as_asgi()),
    path("ws/containers/<uuid:container>/journal/", Journal.as_asgi()),
    path("ws/terminal/", Terminal.as_asgi()),
    re_path(r"", WebsocketDenier.as_asgi()),
]
