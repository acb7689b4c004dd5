"""A shell in a container, on a pseudo-terminal that machined opens. It outlives its viewers while its lease lives."""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import logging
import time

from agent.errors import AgentError
from agent.live.child import finished
from agent.live.host import UP, Host
from agent.live.inside import kill_unit, stop_unit
from agent.live.out import OutStream
from agent.live.pty import INPUT_MAX, Pty
from agent.live.sessions import CONTAINER_STOPPED, Session
from agent.live.verify import RefusedRequest
from agent.systemd.bus import DBusError, NoSuchMachine
from contract.live import TERMINAL_LEASE_S, Out, TerminalInput, TerminalOpen, TerminalResize

log = logging.getLogger(__name__)

WINDOW_S = 0.005
FLUSH_BYTES = 32 * 1024
OUT_BYTES = 4 * 1024 * 1024
"""How much a reload replays, in bytes of the stream."""
EARLY_S = 1.0
"""A shell that ends within this many seconds, silently, did not start at all."""

POLITE_S = 2.0
"""How long a shell may take to end by SIGTERM and SIGHUP before it is killed."""
SILENT_S = 1.5
"""A shell that shows no prompt for so long in seconds is taken to listen all the same."""

NEEDS = "A terminal needs systemd, dbus and a shell in the container, and the container fully started."
NOT_TAKEN = b"\r\n\x1b[7m The program does not read its input: what is typed or pasted now is lost. \x1b[0m\r\n"


class TerminalSession(Session):
    """Input that comes while the shell is being opened waits for it."""

    lease_s = TERMINAL_LEASE_S
    out_bytes = OUT_BYTES

    def __init__(self, request: TerminalOpen, host: Host) -> None:
        super().__init__(request.session, request.name)
        self._user = request.user
        self._host = host
        self._size = request.cols, request.rows
        self._seq = 0
        self._early = bytearray()
        self._pty: Pty | None = None
        self._full = self._lost = False
        self._spoke = asyncio.Event()
        self._ready = asyncio.Event()

    def type(self, request: TerminalInput) -> None:
        """Raises RefusedRequest on a repeated number and on what is not base64."""
        if request.seq <= self._seq:
            raise RefusedRequest("replayed", f"Terminal input {request.seq} of session {self.id} came before.")
        try:
            data = base64.b64decode(request.data, validate=True)
        except binascii.Error as error:
            raise RefusedRequest("malformed", f"Terminal input is not base64: {error}") from None
        self._seq = request.seq
        if not self._ready.is_set():
            self._lost = self._lost or len(self._early) + len(data) > INPUT_MAX
            self._early += b"" if self._lost else data
        elif self._pty is not None:
            self._write(self._pty, data)

    def _write(self, pty: Pty, data: bytes) -> None:
        taken = pty.write(data)
        if not taken and not self._full:
            pty.inject(NOT_TAKEN)
        self._full = not taken

    def resize(self, request: TerminalResize | TerminalOpen) -> None:
        self._size = request.cols, request.rows
        if self._pty is not None:
            self._pty.resize(*self._size)

    async def run(self, out: OutStream) -> str:
        began = time.monotonic()
        self._pty = pty = await self._open()
        try:
            pty.resize(*self._size)
            typist = asyncio.create_task(self._type_early(pty))
            try:
                await self._pump(pty, out)
            finally:
                typist.cancel()
        except asyncio.CancelledError:
            await self._end_shell(pty)
            raise
        finally:
            pty.close()
        return await self._why_it_ended(silent=not self._spoke.is_set() and time.monotonic() - began < EARLY_S)

    async def _open(self) -> Pty:
        try:
            return Pty(await self._host.open_shell(self.name, self._user))
        except NoSuchMachine:
            raise AgentError("The container is not running.", hint="Start it, then open the terminal.") from None
        except (DBusError, TimeoutError) as error:
            why = error.message if isinstance(error, DBusError) else "The container did not answer in time."
            raise AgentError("The terminal could not be opened.", why=why, hint=NEEDS) from error

    async def _type_early(self, pty: Pty) -> None:
        """What was typed before the shell spoke. Sooner it would be lost: systemd flushes the terminal's input when
        it sets it up (TTYReset= in systemd.exec(5))."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SILENT_S):
                await self._spoke.wait()
        self._ready.set()
        self._write(pty, bytes(self._early))
        self._early.clear()
        if self._lost:
            pty.inject(NOT_TAKEN)
            self._full = True

    async def _pump(self, pty: Pty, out: OutStream) -> None:
        """At once when idle; while much comes, every few milliseconds or in large pieces."""
        while data := await pty.read():
            sent = time.monotonic()
            await out.send(Out(data=base64.b64encode(data).decode()))
            self._spoke.set()
            rest = WINDOW_S - (time.monotonic() - sent)
            if rest > 0 and pty.held < FLUSH_BYTES:
                await asyncio.sleep(rest)

    async def _end_shell(self, pty: Pty) -> None:
        """Stop machined's unit of this shell, also one that ignores a hang-up.

        Its jobs get SIGHUP from it or from the kernel; what was started to survive that (nohup, tmux) does. Our end
        stays open meanwhile, so that the number of the terminal cannot pass to another shell.
        """
        unit = f"container-shell@{pty.number}.service"
        await stop_unit(self.name, unit)
        if not await finished(pty.drain(), POLITE_S):
            await kill_unit(self.name, unit)

    async def _why_it_ended(self, *, silent: bool) -> str:
        if await self._host.state(self.name) not in UP:
            return CONTAINER_STOPPED
        if silent:
            return f"The shell ended at once. Has the container a user {self._user} with a login shell?"
        return "The shell ended."
