"""Wake another process of the agent within a millisecond: an empty datagram to a unix socket (unix(7)).

A nudge carries nothing and may be lost; whoever waits looks at the store when it wakes, and now and then anyway.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from pathlib import Path


def send(address: Path) -> None:
    """Wake whoever waits at `address`; nobody there, or already awake, is fine."""
    sleeping = contextlib.suppress(FileNotFoundError, ConnectionRefusedError, BlockingIOError)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sender, sleeping:
        sender.sendto(b"!", str(address))


class Receiver:
    """The waiting end. One a process and address; the address is taken over from a dead process."""

    def __init__(self, address: Path) -> None:
        self._address = address
        address.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        address.unlink(missing_ok=True)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._socket.bind(str(address))

    async def wait(self, timeout: float | None = None) -> bool:
        """Wait for a nudge for at most `timeout` seconds; False if none came. Pending ones count as one."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(timeout):
                await loop.sock_recv(self._socket, 1)
        except TimeoutError:
            return False
        with contextlib.suppress(BlockingIOError):
            while True:
                self._socket.recv(1)
        return True

    def close(self) -> None:
        self._socket.close()
        self._address.unlink(missing_ok=True)
