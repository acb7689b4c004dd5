"""The portal's own worker and beat, and the relay, as processes: they start, work, and end when told."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis as redis_py

from tests.conftest import RedisServer

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def environment(redis_server: RedisServer, tmp_path: Path) -> dict[str, str]:
    """A portal of its own, on a database that has been made."""
    given = {
        "NSPAWNWEB_VAR": str(tmp_path),
        "NSPAWNWEB_REDIS_URL": redis_server.url,
        "NSPAWNWEB_DATABASE_URL": f"sqlite:///{tmp_path}/portal.sqlite3",
        "DJANGO_SETTINGS_MODULE": "nspawnweb.settings",
    }
    found = {**os.environ, **given}
    manage = [sys.executable, "manage.py"]
    subprocess.run([*manage, "migrate", "-v0"], cwd=ROOT, env=found, check=True)
    return found


Start = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def start(environment: dict[str, str], tmp_path: Path) -> Iterator[Start]:
    """Start a program of the portal; what still runs at the end is killed. Its output is in `tmp_path`/log."""
    running: list[subprocess.Popen[bytes]] = []

    def begin(*argv: str) -> subprocess.Popen[bytes]:
        log = (tmp_path / "log").open("wb")
        process = subprocess.Popen([sys.executable, *argv], cwd=ROOT, env=environment, stdout=log, stderr=log)
        running.append(process)
        return process

    yield begin
    for process in running:
        if process.poll() is None:
            process.kill()
            process.wait(20)


def until(check: Callable[[], Any], process: subprocess.Popen[bytes], log: Path, seconds: float = 60) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := check()):
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.1)
    return found


def said(log: Path, words: str) -> Callable[[], bool]:
    return lambda: words in log.read_text(errors="replace")


WORKER = ("-m", "celery", "-A", "nspawnweb", "worker", "--beat", "--without-gossip", "--without-mingle", "-l", "INFO")


def test_worker_and_beat_sweep_with_signed_messages_on_their_own_keys(
    start: Start, redis: redis_py.Redis, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    process = start(*WORKER)
    until(lambda: "portal.sweep" in log.read_text() and "succeeded" in log.read_text(), process, log)
    found: Any = redis.keys("*")
    assert {key.decode().split(":")[0] for key in found} == {"portal"}
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0
    assert "Traceback" not in log.read_text()


def test_an_unsigned_message_is_not_run(
    start: Start, redis: redis_py.Redis, redis_server: RedisServer, tmp_path: Path
) -> None:
    from kombu import Connection

    from tasks.redis import broker_url

    log = tmp_path / "log"
    process = start(*WORKER)
    until(said(log, "succeeded"), process, log)
    options = {"global_keyprefix": "portal:"}
    with Connection(broker_url(redis_server.url), transport_options=options) as connection:
        headers = {"task": "portal.prune_samples", "id": "forged", "lang": "py"}
        producer = connection.Producer(serializer="json")
        producer.publish(([], {}, {}), routing_key="portal", exchange="portal", headers=headers)
    until(lambda: redis.llen("portal:portal") == 0, process, log)
    until(said(log, "ContentDisallowed"), process, log)


def test_the_relay_ends_at_once_when_it_is_told(start: Start, tmp_path: Path) -> None:
    log = tmp_path / "log"
    process = start("manage.py", "relay")
    until(said(log, "relay_reading"), process, log)
    begin = time.monotonic()
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0
    assert time.monotonic() - begin < 10
    assert "Traceback" not in log.read_text()
