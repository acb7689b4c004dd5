"""Has the doctor look at the host now and then; what it finds goes with the inventory to the host's page."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from agent.live.inventory import Inventory
from contract.live import Check

log = logging.getLogger(__name__)

EVERY_S = 600.0

Examine = Callable[[], Awaitable[list[Check]]]


async def checkups(inventory: Inventory, examine: Examine) -> None:
    """Until cancelled; also when a whole report is asked for. In a thread of its own, since it may block."""
    while True:
        inventory.checkup_wanted.clear()
        inventory.examined(await asyncio.to_thread(_examine, examine))
        try:
            async with asyncio.timeout(EVERY_S):
                await inventory.checkup_wanted.wait()
        except TimeoutError:
            continue


def _examine(examine: Examine) -> list[Check]:
    async def examined() -> list[Check]:
        return await examine()

    return asyncio.run(examined())
