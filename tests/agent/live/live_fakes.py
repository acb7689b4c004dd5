"""A private Redis on a unix socket, a portal that signs, a viewer that reads, and a host that is not there."""

from __future__ import annotations

import asyncio
import base64
import os
import signal
import subprocess
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from contract import keys
from contract.live import Envelope, MachineState, Out, Request, SignedRequest


class RedisServer:
    """Can be stopped and started again on the same socket, with its data."""

    def __init__(self, folder: Path) -> None:
        self.socket = folder / "redis.sock"
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        argv = ["redis-server", "--port", "0", "--unixsocket", str(self.socket), "--dir", str(self._folder)]
        argv += ["--appendonly", "yes", "--appendfsync", "always", "--save", ""]
        self._process = subprocess.Popen(argv, stdout=subprocess.DEVNULL)
        limit = time.monotonic() + 10
        while not self._answers():
            assert time.monotonic() < limit, "Redis does not come up"
            time.sleep(0.01)

    def stop(self, number: int = signal.SIGKILL) -> None:
        if self._process is not None:
            os.kill(self._process.pid, number)
            self._process.wait()
            self._process = None

    def _answers(self) -> bool:
        done = subprocess.run(["redis-cli", "-s", str(self.socket), "ping"], capture_output=True, check=False)
        return done.stdout == b"PONG\n"


def client(server: RedisServer, **options: Any) -> Redis:
    return Redis(unix_socket_path=str(server.socket), retry=Retry(NoBackoff(), 0), **options)


class Portal:
    """Signs as the portal does."""

    def __init__(self, host: UUID) -> None:
        self.host = host
        self.key = Ed25519PrivateKey.generate()

    def sign(self, request: Request, *, life_s: float = 30, **changes: Any) -> bytes:
        fields: dict[str, Any] = {"id": uuid4(), "host": self.host, "expires": datetime.now(UTC)}
        fields["expires"] += timedelta(seconds=life_s)
        return self.seal(SignedRequest(**(fields | changes), request=request).model_dump_json())

    def seal(self, payload: str) -> bytes:
        signature = base64.b64encode(self.key.sign(payload.encode())).decode()
        return Envelope(payload=payload, signature=signature).model_dump_json().encode()

    async def send(self, redis: Redis, request: Request) -> None:
        await redis.xadd(keys.live_in(self.host), {keys.FIELD: self.sign(request)}, maxlen=keys.LIVE_IN_MAX)


class Viewer:
    """Reads a session's output from its beginning."""

    def __init__(self, redis: Redis, host: UUID, session: UUID) -> None:
        self._redis = redis
        self._key = keys.live_out(host, session)
        self._position = "0"
        self.outs: list[Out] = []

    async def until(self, done: Callable[[Viewer], bool], limit_s: float = 10) -> None:
        """Read on until the condition holds."""
        try:
            async with asyncio.timeout(limit_s):
                while not done(self):
                    await self._read()
        except TimeoutError:
            raise AssertionError(f"after {limit_s} s there is only {self.outs[-3:]!r}") from None

    async def _read(self) -> None:
        for position, fields in await self._redis.xrange(self._key, f"({self._position}", "+"):
            self._position = position.decode()
            self.outs.append(Out.model_validate_json(fields[keys.FIELD.encode()]))
        await asyncio.sleep(0.005)

    @property
    def data(self) -> bytes:
        return b"".join(base64.b64decode(out.data) for out in self.outs if out.data)

    @property
    def messages(self) -> list[str]:
        return [entry.message for out in self.outs for entry in out.entries or []]

    @property
    def cursors(self) -> list[str]:
        return [entry.cursor for out in self.outs for entry in out.entries or []]

    @property
    def closed(self) -> str | None:
        return next((out.closed for out in self.outs if out.closed), None)


class FakeHost:
    """agent.live.host.Host over local pseudo-terminals; `slaves` are the ends that the programs would have."""

    def __init__(self) -> None:
        self.machine_state = MachineState.RUNNING
        self.slaves: list[int] = []
        self.error: Exception | None = None

    async def open_shell(self, name: str, user: str) -> int:
        if self.error is not None:
            raise self.error
        master, slave = os.openpty()
        self.slaves.append(slave)
        return master

    async def state(self, name: str) -> MachineState:
        return self.machine_state
