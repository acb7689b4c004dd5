"""What all portal tests share: people, a team with a host and a container, a private Redis, keys of the session's own.

The people: `owner` made the container, `teammate` is a developer of the same team, `viewer` and `team_admin` have those
roles in it, `stranger` is a developer of another team, `operator` and `auditor` have site roles.
"""

from __future__ import annotations

import importlib
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis as redis_py
from django.apps import apps
from django.contrib.auth.models import User
from django.db import connections
from django.test import Client
from pytest_django.fixtures import Settings

from machines.models import Container, Host, Release
from tasks import dispatch, pki
from tasks import redis as tasks_redis
from teams.models import Role, SiteRole, SiteRoleName, Team
from tests.factories import ContainerFactory, HostFactory, MembershipFactory, ReleaseFactory, TeamFactory, UserFactory
from tests.stack_fixture import stack as stack  # the fixture of end-to-end and browser tests


@pytest.fixture(scope="session")
def django_db_modify_db_settings(django_db_modify_db_settings: None, tmp_path_factory: pytest.TempPathFactory) -> None:
    """SQLite in a file, as in life: threads then meet the same locks. A name of one's own for each xdist worker."""
    for connection in connections.all():
        if connection.vendor == "sqlite":
            path = tmp_path_factory.mktemp("db") / "test.sqlite3"
            connection.settings_dict["TEST"]["NAME"] = str(path)


@pytest.fixture(scope="session")
def pki_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pki")


@pytest.fixture(autouse=True)
def _own_settings(settings: Settings, pki_dir: Path, tmp_path: Path) -> None:
    """No test touches the keys, the Redis or the files of a portal that runs on this machine."""
    settings.PKI_DIR = pki_dir
    settings.REDIS_URL = f"unix://{tmp_path}/no-redis.sock"
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
    settings.STORAGES = settings.STORAGES | {
        "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
    }
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    tasks_redis.client.cache_clear()


class RedisServer:
    """A redis-server of our own on a unix socket, with an append-only file, that can be stopped and started."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.socket = folder / "redis.sock"
        self.url = f"unix://portal:p%2Fw%3Ax@{self.socket}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        configuration = self.folder / "redis.conf"
        configuration.write_text(
            f"port 0\nunixsocket {self.socket}\ndir {self.folder}\nappendonly yes\nappendfsync always\n"
            'save ""\nuser default off\nuser portal on >p/w:x ~* &* +@all\n'
        )
        self._process = subprocess.Popen(["redis-server", str(configuration)], stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 20
        while True:
            try:
                with redis_py.Redis.from_url(self.url) as client:
                    client.ping()
                return
            except redis_py.RedisError:
                assert time.monotonic() < deadline, "redis-server did not start"
                time.sleep(0.02)

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(20)
            self._process = None


@pytest.fixture(scope="session")
def _redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    folder = tmp_path_factory.mktemp("redis")
    if len(str(folder)) > 80:  # sun_path holds 108 bytes (unix(7))
        folder = Path("/tmp") / f"nspawnweb-test-{folder.parent.name}-{time.monotonic_ns()}"
        folder.mkdir()
    server = RedisServer(folder)
    server.start()
    yield server
    server.stop()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def redis_server(_redis_server: RedisServer, settings: Settings) -> Iterator[RedisServer]:
    """The portal's Redis for this test: empty, and running again afterwards whatever the test did to it."""
    settings.REDIS_URL = _redis_server.url
    tasks_redis.client.cache_clear()
    tasks_redis.client().flushall()
    yield _redis_server
    tasks_redis.client.cache_clear()
    if _redis_server._process is None:
        _redis_server.start()


@pytest.fixture
def redis(redis_server: RedisServer) -> redis_py.Redis:
    """A client of `redis_server`."""
    return tasks_redis.client()


@pytest.fixture
def team(db: None) -> Team:
    return TeamFactory(name="Web", slug="web")


def _member(name: str, team: Team, role: Role) -> User:
    user = UserFactory(username=name)
    MembershipFactory(team=team, user=user, role=role)
    return user


@pytest.fixture
def owner(team: Team) -> User:
    return _member("owner", team, Role.DEVELOPER)


@pytest.fixture
def teammate(team: Team) -> User:
    return _member("teammate", team, Role.DEVELOPER)


@pytest.fixture
def viewer(team: Team) -> User:
    return _member("viewer", team, Role.VIEWER)


@pytest.fixture
def team_admin(team: Team) -> User:
    return _member("teamadmin", team, Role.ADMIN)


@pytest.fixture
def stranger(db: None) -> User:
    return _member("stranger", TeamFactory(name="Other", slug="other"), Role.DEVELOPER)


@pytest.fixture
def operator(db: None) -> User:
    user = UserFactory(username="operator")
    SiteRole.objects.create(user=user, role=SiteRoleName.OPERATOR)
    return user


@pytest.fixture
def auditor(db: None) -> User:
    user = UserFactory(username="auditor")
    SiteRole.objects.create(user=user, role=SiteRoleName.AUDITOR)
    return user


@pytest.fixture
def host(db: None) -> Host:
    """Enrolled and online."""
    return HostFactory(name="srv1")


@pytest.fixture
def releases_that_come_along(db: None) -> None:
    """Those of the data migration, also after a test that emptied all tables."""
    importlib.import_module("machines.migrations.0002_releases").add(apps, None)


@pytest.fixture
def release(db: None) -> Release:
    return ReleaseFactory()


@pytest.fixture
def container(team: Team, host: Host, owner: User, release: Release) -> Container:
    """Running, made by `owner`."""
    return ContainerFactory(name="web1", team=team, host=host, owner=owner, release=release, host_state="running")


@pytest.fixture
def login(client: Client) -> Callable[[User], Client]:
    def log_in(user: User) -> Client:
        client.force_login(user)
        return client

    return log_in


@pytest.fixture
def committed(django_capture_on_commit_callbacks: Any) -> Any:
    """`with committed(): …` runs what waits for the commit, in tests whose transaction is never committed."""
    return lambda: django_capture_on_commit_callbacks(execute=True)


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Orders that would have been sent, in order; none goes to Redis."""
    orders: list[Any] = []
    monkeypatch.setattr(dispatch, "_publish", orders.append)
    return orders


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """(host id, live request) that would have been sent."""
    requests: list[Any] = []
    for module in ("tasks.services", "tasks.sweep", "tasks.relay.ingest"):
        monkeypatch.setattr(f"{module}.send_request", lambda host_id, request: requests.append((host_id, request)))
    return requests


@pytest.fixture
def pki_made(pki_dir: Path) -> None:
    pki.ensure()
