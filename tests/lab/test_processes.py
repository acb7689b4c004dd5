"""A process is only ever signalled when it is the very one on record."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import replace

import pytest

from lab import processes


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "60"]) as process:
        yield process
        process.kill()


def test_a_process_is_known_by_pid_and_start(sleeper: subprocess.Popen[bytes]) -> None:
    known = processes.know(sleeper.pid)
    assert known is not None
    assert processes.alive(known)
    assert sleeper.pid in processes.children(os.getpid())


def test_a_reused_pid_is_not_signalled(sleeper: subprocess.Popen[bytes]) -> None:
    known = processes.know(sleeper.pid)
    assert known is not None
    former = replace(known, start=known.start - 1)
    assert not processes.alive(former)
    assert processes.send(former, signal.SIGKILL) is False
    assert sleeper.poll() is None


def test_the_right_process_is_signalled_and_its_zombie_counts_as_gone(sleeper: subprocess.Popen[bytes]) -> None:
    known = processes.know(sleeper.pid)
    assert known is not None
    assert processes.send(known, signal.SIGKILL)
    assert processes.wait_gone(known, 5)
    assert processes.know(sleeper.pid) is None


def test_waiting_has_a_limit() -> None:
    ourselves = processes.know(os.getpid())
    assert ourselves is not None
    assert not processes.wait_gone(ourselves, 0.05)


def test_a_process_of_this_namespace_is_no_namespace_init(sleeper: subprocess.Popen[bytes]) -> None:
    assert not processes.is_namespace_init(sleeper.pid)
