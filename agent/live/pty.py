"""A pseudo-terminal on the event loop: bounded reading, writing in parts, resizing (pty(7), ioctl_tty(2))."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import os
import struct
import termios

READ_SIZE = 32 * 1024
HELD_MAX = 256 * 1024
"""Output in bytes that waits for its reader before the program inside is made to wait."""
INPUT_MAX = 4 * 1024 * 1024
"""Input in bytes that waits for a program that does not read."""


_TIOCGPTN = 0x80045430
"""Which number a terminal has; <asm-generic/ioctls.h>, and absent from Python's termios before 3.13."""


class Pty:
    """The master end. It owns the descriptor."""

    def __init__(self, descriptor: int) -> None:
        self._fd = descriptor
        self._loop = asyncio.get_running_loop()
        os.set_blocking(descriptor, False)
        self._held = bytearray()
        self._ended = False
        self._reading = False
        self._something = asyncio.Event()
        self._input = bytearray()
        self._resume()

    def resize(self, cols: int, rows: int) -> None:
        """Tell the programs inside; they get SIGWINCH."""
        if self._fd >= 0:
            with contextlib.suppress(OSError):
                fcntl.ioctl(self._fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, cols, 0, 0))

    @property
    def number(self) -> int:
        """N of /dev/pts/N on the side of the container."""
        return int(struct.unpack("I", fcntl.ioctl(self._fd, _TIOCGPTN, b"\0" * 4))[0])

    @property
    def held(self) -> int:
        return len(self._held)

    async def read(self) -> bytes:
        """All output that is there, at least a byte; empty when the other side is closed for good."""
        while not self._held and not self._ended:
            self._something.clear()
            await self._something.wait()
        data = bytes(self._held)
        self._held.clear()
        self._resume()
        return data

    async def drain(self) -> None:
        """Read and forget all output until the other side is closed."""
        while await self.read():
            pass

    def write(self, data: bytes) -> bool:
        """Type. False if it was not taken, because the program inside has long not read."""
        if self._fd < 0 or self._ended or len(self._input) + len(data) > INPUT_MAX:
            return False
        was_idle = not self._input
        self._input += data
        if was_idle:
            self._on_writable()
        return True

    def inject(self, data: bytes) -> None:
        """Show something as if the program inside had written it."""
        self._held += data
        self._something.set()

    def close(self) -> None:
        """Hang up. Programs inside get SIGHUP."""
        if self._fd < 0:
            return
        self._pause()
        self._loop.remove_writer(self._fd)
        os.close(self._fd)
        self._fd = -1
        self._end()

    def _resume(self) -> None:
        if not self._reading and not self._ended and self._fd >= 0:
            self._loop.add_reader(self._fd, self._on_readable)
            self._reading = True

    def _pause(self) -> None:
        if self._reading:
            self._loop.remove_reader(self._fd)
            self._reading = False

    def _on_readable(self) -> None:
        try:
            data = os.read(self._fd, READ_SIZE)
        except BlockingIOError:
            return
        except OSError as error:
            if error.errno != errno.EIO:  # EIO: every slave descriptor is closed
                raise
            data = b""
        if not data:
            self._end()
            return
        self._held += data
        self._something.set()
        if len(self._held) >= HELD_MAX:
            self._pause()

    def _on_writable(self) -> None:
        try:
            written = os.write(self._fd, memoryview(self._input)[:READ_SIZE])
        except BlockingIOError:
            written = 0
        except OSError:  # the other side is gone; the reader says so
            self._input.clear()
            written = 0
        del self._input[:written]
        if self._input:
            self._loop.add_writer(self._fd, self._on_writable)
        else:
            self._loop.remove_writer(self._fd)

    def _end(self) -> None:
        self._ended = True
        self._pause()
        self._something.set()
