"""The real ASGI application on a real port, a real Redis, and a fake host that speaks contract.live."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
import uvicorn
from django.contrib.auth.models import User
from django.db import connections

from machines.models import Host
from tasks.live import base
from tests.conftest import RedisServer
from tests.tasks.live.harness import WAIT_S, Browser, FakeHost, wait_for


@pytest.fixture
def host_fake(redis_server: RedisServer, transactional_db: None, pki_made: None, host: Host) -> Iterator[FakeHost]:
    fake = FakeHost(host, redis_server.url)
    yield fake
    fake.stop()


def forget_changes(url: str) -> None:
    """Earlier tests' changes are no news to this one's pages."""
    with redis.Redis.from_url(url) as client:
        for key in client.scan_iter("portal:lately:*"):
            client.delete(key)


@pytest.fixture
def address(
    redis_server: RedisServer, transactional_db: None, pki_made: None, settings: Any, monkeypatch: Any
) -> Iterator[str]:
    """host:port of the portal, with quick checks of rights."""
    monkeypatch.setattr(base, "CHECK_S", 0.3)
    monkeypatch.setattr(base, "CHECK_MIN_S", 0.05)
    settings.CHANNEL_LAYERS = {
        "default": {
            "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
            "CONFIG": {"hosts": [redis_server.url], "prefix": "portal:channels"},
        }
    }
    forget_changes(redis_server.url)
    from nspawnweb.asgi import application

    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    config = uvicorn.Config(application, log_level="warning", timeout_graceful_shutdown=2, lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    wait_for(lambda: server.started, "the server")
    yield "127.0.0.1:%d" % listening.getsockname()[1]  # noqa: UP031
    server.should_exit = True
    thread.join(WAIT_S)
    assert not thread.is_alive()
    connections.close_all()


@pytest.fixture
def visit(address: str) -> Callable[[User | None], Browser]:
    return lambda user: Browser(address, user)
