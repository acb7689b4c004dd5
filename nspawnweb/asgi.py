"""The portal as an ASGI application: pages and the API by Django, WebSockets by Channels."""

from __future__ import annotations

import os

from channels.routing import ProtocolTypeRouter
from channels.sessions import CookieMiddleware
from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "nspawnweb.settings")
_pages = get_asgi_application()

# Consumers import models: only now, after Django has set up its apps.
from nspawnweb.routing import websockets  # noqa: E402
from tasks.live.origin import OriginCheck  # noqa: E402

application = ProtocolTypeRouter({"http": _pages, "websocket": OriginCheck(CookieMiddleware(websockets))})
