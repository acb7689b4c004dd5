"""The terminal's socket against the agent's own live code, with a local shell in place of a container's."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from agent.live.dispatch import Dispatch
from agent.live.inbox import Inbox, RefusalLog
from agent.live.sessions import Sessions
from agent.live.verify import Gate
from agent.store import Store
from contract.live import MachineState
from machines.models import Host
from tasks import pki
from tasks.live import tickets
from tasks.models import TerminalSession
from tests.tasks.live.harness import WAIT_S, told, wait_for


class LocalHost:
    """agent.live.host.Host: every container is a shell of this machine."""

    def __init__(self) -> None:
        self.shells: list[subprocess.Popen[bytes]] = []

    async def open_shell(self, name: str, user: str) -> int:
        return await asyncio.to_thread(self._open)

    def _open(self) -> int:
        master, slave = os.openpty()
        environment = {"PATH": os.defpath, "PS1": "% ", "TERM": "xterm"}
        argv = ["setsid", "--ctty", "/bin/sh"]
        self.shells.append(subprocess.Popen(argv, stdin=slave, stdout=slave, stderr=slave, env=environment))
        os.close(slave)
        return master

    async def state(self, name: str) -> MachineState:
        return MachineState.RUNNING


class AgentThread:
    """The agent's inbox and sessions in a loop of their own."""

    def __init__(self, host: Host, url: str, store: Store) -> None:
        self.local = LocalHost()
        self.refused: list[str] = []
        self._host, self._url, self._store = host, url, store
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._run(),), daemon=True)
        self._thread.start()

    async def _run(self) -> None:
        self._stop = asyncio.Event()
        redis = Redis.from_url(self._url)
        sessions = Sessions(redis, self._host.pk)
        gate = Gate(self._host.pk, pki.live_key().public_key(), self._store.seen_request)
        dispatch = Dispatch(sessions=sessions, host=self.local, jobs=self._store, reporter=self)
        inbox = Inbox(redis, self._host.pk, gate, RefusalLog(self), dispatch)
        tasks = [asyncio.create_task(inbox.run()), asyncio.create_task(sessions.keep())]
        await self._stop.wait()
        for task in tasks:
            task.cancel()
        await redis.aclose()

    def append(self, job: Any, body: Any) -> None:
        self.refused.append(body.why)

    def request(self) -> None:
        """Nobody asks for an inventory here."""

    def stop(self) -> None:
        for shell in self.local.shells:
            shell.kill()
            shell.wait()
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(WAIT_S)


@pytest.fixture
def agent(
    redis_server: Any, transactional_db: None, pki_made: None, host: Host, tmp_path: Path, monkeypatch: Any
) -> Iterator[AgentThread]:
    monkeypatch.setenv("NSPAWNWEB_AGENT_RUN", str(tmp_path / "run"))
    store = Store(tmp_path / "agent.db")
    thread = AgentThread(host, redis_server.url, store)
    yield thread
    thread.stop()
    store.close()


def until(socket: Any, end: bytes) -> bytes:
    found = b""
    while end not in found:
        message = socket.recv(timeout=WAIT_S)
        found += message if isinstance(message, bytes) else b""
    return found


def test_a_shell_from_the_browser_to_the_agent_and_back(
    visit: Callable[[Any], Any], owner: Any, container: Any, agent: AgentThread
) -> None:
    page = visit(owner)

    @contextmanager
    def attach(session: str = "", cols: int = 80) -> Iterator[Any]:
        issued = tickets.issue(by=owner, container=container, session_key=page.session_key, session=session)
        with page.open("/ws/terminal/") as socket:
            socket.send(json.dumps({"ticket": issued["ticket"], "cols": cols, "rows": 24}))
            assert told(socket) == {"ready": True, "session": issued["session"]}
            yield socket

    with attach() as socket:
        until(socket, b"% ")
        socket.send(b"echo $((6*7))\r")
        until(socket, b"42\r\n")
        socket.send('{"resize": [132, 50]}')
        socket.send(b"stty size\r")
        until(socket, b"50 132\r\n")
        socket.send(b'sleep 1; echo far""away\r')
        until(socket, b"sleep 1")
    session = str(TerminalSession.objects.get().pk)
    with attach(session, cols=99) as socket:
        shown = until(socket, b"faraway\r\n")
        assert b"42\r\n" in shown and b"50 132" in shown
        socket.send(b"stty size\r")
        until(socket, b"24 99\r\n")
        socket.send(b"exit\r")
        last = ""
        while not last.startswith("{"):
            message = socket.recv(timeout=WAIT_S)
            last = message if isinstance(message, str) else ""
        assert json.loads(last) == {"closed": "The shell ended.", "code": "ended"}
    assert len(agent.local.shells) == 1 and agent.refused == []
    wait_for(lambda: TerminalSession.objects.get().closed_at, "the end to be noted")
