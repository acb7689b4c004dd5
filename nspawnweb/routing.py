"""WebSocket addresses of all rooms. Who is signed in, each socket finds out by itself (tasks.live.base)."""

from __future__ import annotations

from channels.routing import URLRouter

from tasks.live.routing import websocket_urlpatterns

websockets = URLRouter(websocket_urlpatterns)
