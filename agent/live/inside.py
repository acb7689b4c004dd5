"""End a transient unit of ours inside a container."""

from __future__ import annotations

import asyncio
import logging

from agent.live.child import Child

log = logging.getLogger(__name__)

LIMIT_S = 5.0


async def stop_unit(name: str, unit: str) -> None:
    """Ask the container's systemd; a container or unit that is gone already is what was wanted."""
    argv = ["systemctl", "--quiet", f"--machine={name}", "--no-block", "stop", "--", unit]
    async with Child.spawn(argv) as child:
        try:
            async with asyncio.timeout(LIMIT_S):
                if await child.wait():
                    log.debug("%s in %s: %s", unit, name, child.errors())
        except TimeoutError:
            log.warning("%s in %s could not be stopped within %s s", unit, name, LIMIT_S)
