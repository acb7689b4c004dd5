"""`relay`: run the relay until a signal ends it."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from typing import Any

from django.core.management.base import BaseCommand

from tasks.relay.reader import Relay


class Command(BaseCommand):
    help = "Bring hosts' events and states into the database, until SIGTERM or SIGINT."

    def handle(self, *args: Any, **options: Any) -> None:
        asyncio.run(_run())


async def _run() -> None:
    loop = asyncio.get_running_loop()
    task = asyncio.create_task(Relay().run())
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, task.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await task
