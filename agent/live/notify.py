"""Tell systemd how the service is: datagrams to $NOTIFY_SOCKET (sd_notify(3))."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket


def notify(state: str) -> None:
    """Send e.g. "READY=1". Without systemd (no NOTIFY_SOCKET) nothing happens."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    target = "\0" + address[1:] if address.startswith("@") else address
    kind = socket.SOCK_DGRAM | socket.SOCK_CLOEXEC
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, kind) as sender:
        sender.sendto(state.encode(), target)


def watchdog_period() -> float | None:
    """Half of WatchdogSec= in seconds (sd_watchdog_enabled(3)); None if systemd does not watch this process."""
    usec = os.environ.get("WATCHDOG_USEC", "")
    if not usec.isdecimal() or os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    return int(usec) / 2e6 or None


async def watchdog() -> None:
    """Prove that the event loop turns, for as long as it does."""
    period = watchdog_period()
    while period:
        notify("WATCHDOG=1")
        await asyncio.sleep(period)
