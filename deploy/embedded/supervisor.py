"""One process that starts the parts of the portal, starts again what dies, and stops them in order.

`python -m deploy.embedded.supervisor PLAN STATUS` reads a plan (JSON, see `Part`), writes its state to STATUS at every
change, and ends on SIGTERM or SIGINT after its parts. Each part is a process group of its own, so Ctrl-C in a terminal
reaches the supervisor alone; if the supervisor itself is killed, the kernel ends its parts (PR_SET_PDEATHSIG).
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import json
import logging
import logging.handlers
import os
import signal
import sys
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

BACKOFF_FIRST_S, BACKOFF_MOST_S = 0.5, 30.0
STEADY_S = 30.0
"""A part that ran this long begins anew with the shortest wait when it dies."""
LOG_BYTES, LOG_FILES = 10 * 1024 * 1024, 3
LINE_MAX = 64 * 1024
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class Part:
    """A program to keep running. `ready` is `unix:PATH`, `tcp:HOST:PORT` or empty: later parts wait for it."""

    name: str
    argv: list[str]
    environment: dict[str, str] = field(default_factory=dict)
    ready: str = ""
    ready_s: float = 60.0
    stop_s: float = 15.0


@dataclass
class Running:
    """A part's process, as STATUS shows it."""

    part: Part
    process: asyncio.subprocess.Process | None = None
    started: float = 0.0
    restarts: int = 0
    state: str = "waiting"
    last_exit: int | None = None

    def as_json(self) -> dict[str, Any]:
        alive = self.process is not None and self.process.returncode is None
        return {
            "name": self.part.name,
            "pid": self.process.pid if alive and self.process else None,
            "state": self.state,
            "since": self.started,
            "restarts": self.restarts,
            "last_exit": self.last_exit,
        }


class Supervisor:
    """Keeps `parts` running, in that order."""

    def __init__(self, parts: list[Part], status: Path, log_folder: Path, *, echo: bool) -> None:
        self._running = [Running(part) for part in parts]
        self._status = status
        self._log_folder = log_folder
        self._echo = echo
        self._stop = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def run(self) -> None:
        """Start all, until `stop`; then stop all, the last one first."""
        self._log_folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        log = self._log("supervisor")
        try:
            for one in self._running:
                self._tasks.append(asyncio.create_task(self._keep(one, log)))
                await self._until_ready(one, log)
                if self._stop.is_set():
                    break
            await self._stop.wait()
        finally:
            await self._stop_all(log)
            self._status.unlink(missing_ok=True)

    def stop(self) -> None:
        self._stop.set()

    async def _keep(self, one: Running, log: logging.Logger) -> None:
        """Run one part for ever, waiting longer after each quick death."""
        wait = BACKOFF_FIRST_S
        out = self._log(one.part.name)
        while True:
            one.started = time.time()
            began = time.monotonic()
            try:
                await self._run_once(one, out)
            except OSError as error:
                log.error("%s could not be started: %s", one.part.name, error)
            if one.state == "stopping":
                return
            ran = time.monotonic() - began
            wait = BACKOFF_FIRST_S if ran >= STEADY_S else wait
            one.state, one.last_exit = "restarting", one.process.returncode if one.process else None
            log.warning("%s ended with %s after %.1f s; again in %.1f s", one.part.name, one.last_exit, ran, wait)
            self._tell()
            await asyncio.sleep(wait)
            one.restarts += 1
            wait = min(wait * 2, BACKOFF_MOST_S)

    async def _run_once(self, one: Running, out: logging.Logger) -> None:
        environment = os.environ | one.part.environment | {"PYTHONUNBUFFERED": "1"}
        one.process = await asyncio.create_subprocess_exec(
            *one.part.argv,
            env=environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            limit=LINE_MAX,
            start_new_session=True,
            preexec_fn=_die_with_parent,
        )
        one.state = "running"
        self._tell()
        assert one.process.stdout is not None  # noqa: S101 - asked for above
        await _pump(one.process.stdout, out)
        await one.process.wait()

    async def _until_ready(self, one: Running, log: logging.Logger) -> None:
        """Wait until the part answers; go on without it after `ready_s` seconds, for it is kept trying anyway."""
        deadline = time.monotonic() + one.part.ready_s
        while one.part.ready and not self._stop.is_set():
            if await _answers(one.part.ready):
                return
            if time.monotonic() > deadline:
                log.error("%s did not answer within %.0f s", one.part.name, one.part.ready_s)
                return
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), 0.05)

    async def _stop_all(self, log: logging.Logger) -> None:
        for one, task in reversed(list(zip(self._running, self._tasks, strict=False))):
            await self._stop_one(one, task, log)

    async def _stop_one(self, one: Running, task: asyncio.Task[None], log: logging.Logger) -> None:
        """SIGTERM, then SIGKILL to its process group when `stop_s` is over. Only ever to a child not yet reaped."""
        one.state = "stopping"
        self._tell()
        if one.process is not None and one.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                one.process.terminate()
            try:
                await asyncio.wait_for(one.process.wait(), one.part.stop_s)
            except TimeoutError:
                log.error("%s did not end within %.0f s: killed", one.part.name, one.part.stop_s)
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(one.process.pid, signal.SIGKILL)
                await one.process.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        one.state = "stopped"

    def _tell(self) -> None:
        state = {"pid": os.getpid(), "parts": [one.as_json() for one in self._running]}
        temporary = self._status.with_suffix(".new")
        temporary.write_text(json.dumps(state, indent=1) + "\n")
        temporary.rename(self._status)

    def _log(self, name: str) -> logging.Logger:
        """A file of its own, rotated, with times; on the console, when wanted, with the part's name."""
        log = logging.Logger(name)
        handler: logging.Handler = logging.handlers.RotatingFileHandler(
            self._log_folder / f"{name}.log", maxBytes=LOG_BYTES, backupCount=LOG_FILES, errors="replace"
        )
        formatter = _UtcFormatter("%(asctime)s %(message)s")
        handler.setFormatter(formatter)
        log.addHandler(handler)
        if self._echo:
            handler = logging.StreamHandler(sys.stdout)
            handler.setFormatter(logging.Formatter("%(name)-10s | %(message)s"))
            log.addHandler(handler)
        return log


class _UtcFormatter(logging.Formatter):
    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:
        return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")


def _die_with_parent() -> None:
    """prctl(2): SIGTERM for the child when its parent dies. Runs between fork and exec of a single-threaded process."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


async def _pump(stream: asyncio.StreamReader, out: logging.Logger) -> None:
    """Lines to the log until the stream ends; an over-long line comes in pieces."""
    while True:
        try:
            line = await stream.readuntil(b"\n")
        except asyncio.IncompleteReadError as end:
            if end.partial:
                out.info("%s", end.partial.decode(errors="replace"))
            return
        except asyncio.LimitOverrunError as over:
            line = await stream.read(over.consumed)
        out.info("%s", line.decode(errors="replace").rstrip("\n"))


async def _answers(ready: str) -> bool:
    """Whether something takes connections there."""
    kind, _, rest = ready.partition(":")
    try:
        if kind == "unix":
            _, writer = await asyncio.open_unix_connection(rest)
        else:
            host, _, port = rest.rpartition(":")
            _, writer = await asyncio.open_connection(host, int(port))
    except OSError:
        return False
    writer.close()
    return True


async def _main(plan: dict[str, Any], status: Path) -> None:
    parts = [Part(**part) for part in plan["parts"]]
    supervisor = Supervisor(parts, status, Path(plan["log"]), echo=plan["echo"])
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, supervisor.stop)
    await supervisor.run()


if __name__ == "__main__":
    asyncio.run(_main(json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2])))
