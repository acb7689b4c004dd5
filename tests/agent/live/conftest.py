"""Fixtures of the live service's tests."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from redis.asyncio import Redis

from agent.store import Store
from tests.agent.live.live_fakes import FakeHost, Portal, RedisServer, client


@pytest.fixture
def redis_server() -> Iterator[RedisServer]:
    folder = Path(tempfile.mkdtemp(prefix="redis-"))
    server = RedisServer(folder)
    server.start()
    yield server
    server.stop()
    shutil.rmtree(folder)


@pytest.fixture
async def redis(redis_server: RedisServer) -> AsyncIterator[Redis]:
    connection = client(redis_server)
    yield connection
    await connection.aclose()


@pytest.fixture
def host_id() -> UUID:
    return uuid4()


@pytest.fixture
def portal(host_id: UUID) -> Portal:
    return Portal(host_id)


@pytest.fixture
def fake_host() -> FakeHost:
    return FakeHost()


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    monkeypatch.setenv("NSPAWNWEB_AGENT_RUN", str(tmp_path / "run"))
    found = Store(tmp_path / "agent.db")
    yield found
    found.close()
