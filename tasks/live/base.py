"""What every socket of ours does: know its person, keep asking whether they may, and end with a reason."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine
from enum import IntEnum
from typing import Any, TypeVar

import structlog
from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncWebsocketConsumer
from django.conf import settings
from django.contrib.auth.models import User
from redis.exceptions import RedisError

from audit.context import request_context
from audit.middleware import client_ip
from tasks.live import access
from teams.errors import NotFound, PermissionDenied, PortalError

log = structlog.get_logger(__name__)

CHECK_S = 10.0
"""How often a socket asks whether its person is still signed in and may still see this."""
CHECK_MIN_S = 1.0
"""…and how often at most, when there are reasons to ask sooner."""
MESSAGE_MAX = 64 * 1024
"""Largest text message in bytes that is taken from a browser."""

T = TypeVar("T")


class Close(IntEnum):
    """Close codes (RFC 6455, 7.4: 4000-4999 are the application's)."""

    OVER = 1000
    ERROR = 1011
    BAD_MESSAGE = 4400
    SIGNED_OUT = 4401
    MAY_NOT = 4403
    NOT_FOUND = 4404
    TOO_LARGE = 4413
    UNAVAILABLE = 4503


class BadMessage(Exception):
    """What the browser sent makes no sense; the text says why."""


class Gone(Exception):
    """The browser went away while something was being sent."""


class PortalSocket(AsyncWebsocketConsumer):  # type: ignore[misc] # channels ships no types
    """Subclasses give `begin`, `on_text`, maybe `on_bytes` and `check`. Work in the background goes through `spawn`.

    An anonymous handshake is refused (403). Everything after it ends with {"closed": reason, "code": word} and a
    close code of `Close`.
    """

    user: User
    session_key: str
    _finished: bool

    async def connect(self) -> None:
        self.session_key = self.scope.get("cookies", {}).get(settings.SESSION_COOKIE_NAME, "")
        user = await self.db(access.signed_in, self.session_key)
        if user is None:
            await self.close()
            return
        self.user = user
        await self.channel_layer.group_add(access.session_group(self.session_key), self.channel_name)
        await self.accept()
        await self._guarded(self.begin())
        self.spawn(self._keep_checking())

    async def begin(self) -> None:
        """Look whether there is what the socket is about. Raises PortalError."""

    async def check(self) -> None:
        """Whether the person may still have it. Raises PortalError to end the socket."""

    async def on_text(self, message: dict[str, Any]) -> None:
        """A JSON object from the browser. Raises BadMessage, PortalError."""
        raise BadMessage("Nothing is expected here.")

    async def on_bytes(self, data: bytes) -> None:
        """A binary message. Raises BadMessage, PortalError."""
        raise BadMessage("Binary messages are not expected here.")

    async def end(self) -> None:
        """The socket is gone: leave everything tidy."""

    # --- for subclasses ---

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run beside the socket, and end with it; an error ends the socket."""
        task = asyncio.create_task(self._guarded(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def tell(self, message: dict[str, Any]) -> None:
        """Send JSON; waits while the browser does not read."""
        await self.send(text_data=json.dumps(message, separators=(",", ":"), default=str))

    async def finish(self, reason: str, code: Close = Close.OVER, word: str = "over") -> None:
        """Say why, and close. Only the first call counts."""
        if self._finished:
            return
        self._finished = True
        try:
            await self.tell({"closed": reason, "code": word})
            await self.close(code=int(code))
        except (Gone, OSError, RuntimeError):
            log.debug("socket_gone", path=self.scope.get("path", ""))  # the browser was quicker

    async def join(self, group: str) -> None:
        if group not in self._joined:
            self._joined.add(group)
            await self.channel_layer.group_add(group, self.channel_name)

    async def leave(self, group: str) -> None:
        if group in self._joined:
            self._joined.discard(group)
            await self.channel_layer.group_discard(group, self.channel_name)

    async def db(self, function: Any, *args: Any, **kwargs: Any) -> Any:
        """A sync function in a thread with a database connection; audit rows below know the browser's address."""
        ip = client_ip((self.scope.get("client") or [""])[0], self._header(b"x-forwarded-for"))
        with request_context(ip=ip):
            return await database_sync_to_async(function)(*args, **kwargs)

    def check_soon(self) -> None:
        self._check_now.set()

    # --- Channels ---

    async def send(self, text_data: str | None = None, bytes_data: bytes | None = None, close: bool = False) -> None:
        try:
            await super().send(text_data=text_data, bytes_data=bytes_data, close=close)
        except (OSError, RuntimeError) as error:  # what ASGI servers raise (ASGI specification, "Send")
            raise Gone from error

    async def __call__(self, scope: Any, receive: Any, send: Any) -> Any:
        self._tasks: set[asyncio.Task[None]] = set()
        self._joined: set[str] = set()
        self._finished = False
        self._check_now = asyncio.Event()
        try:
            return await super().__call__(scope, receive, send)
        except RedisError as error:
            log.warning("socket_without_redis", error=str(error))  # the handshake fails, the browser tries again
        finally:
            for task in list(self._tasks):
                task.cancel()

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        if self._finished:
            return
        await self._guarded(self.on_bytes(bytes_data) if bytes_data is not None else self._text(text_data or ""))

    async def disconnect(self, code: int) -> None:
        self._finished = True
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if not hasattr(self, "user"):
            return
        for group in (access.session_group(self.session_key), *self._joined):
            await self.channel_layer.group_discard(group, self.channel_name)
        await self.end()

    async def session_over(self, message: Any) -> None:
        """From tasks.live.access.session_over: the person has signed out."""
        await self.signed_out()

    async def signed_out(self) -> None:
        """What the end of the session means here."""
        await self.finish("You are signed out.", Close.SIGNED_OUT, "signed_out")

    async def _text(self, text: str) -> None:
        if len(text) > MESSAGE_MAX:
            return await self.finish("The message is too large.", Close.TOO_LARGE, "too_large")
        try:
            message = json.loads(text)
        except (ValueError, RecursionError):
            raise BadMessage("The message is not JSON.") from None
        if not isinstance(message, dict):
            raise BadMessage("The message is not a JSON object.")
        await self.on_text(message)

    async def _keep_checking(self) -> None:
        while True:
            try:
                async with asyncio.timeout(CHECK_S):
                    await self._check_now.wait()
            except TimeoutError:
                pass
            self._check_now.clear()
            user = await self.db(access.signed_in, self.session_key)
            if user is None or user.pk != self.user.pk:
                return await self.signed_out()
            self.user = user
            await self.check()
            await asyncio.sleep(CHECK_MIN_S)

    async def _guarded(self, work: Coroutine[Any, Any, None]) -> None:
        """Errors become the socket's last words."""
        try:
            await work
        except BadMessage as error:
            await self.finish(str(error), Close.BAD_MESSAGE, "bad_message")
        except NotFound as error:
            await self.finish(str(error), Close.NOT_FOUND, error.code)
        except PermissionDenied as error:
            await self.finish(str(error), Close.MAY_NOT, error.code)
        except PortalError as error:
            await self.finish(str(error), Close.UNAVAILABLE, error.code)
        except Gone:
            log.debug("socket_gone", path=self.scope.get("path", ""))
        except Exception:
            log.exception("socket_failed", path=self.scope.get("path", ""))
            await self.finish("The portal met an unexpected error. Try again.", Close.ERROR, "internal")

    def _header(self, name: bytes) -> str:
        return next((value.decode("latin1") for key, value in self.scope.get("headers", []) if key == name), "")
