"""End transient units of ours inside a container."""

from __future__ import annotations

import logging

from agent.live.child import Child, finished

log = logging.getLogger(__name__)

LIMIT_S = 3.0


async def stop_unit(name: str, unit: str) -> None:
    """Ask the container's systemd to; a container or unit that is gone already is what was wanted."""
    await _systemctl(name, "--no-block", "stop", "--", unit)


async def kill_unit(name: str, unit: str) -> None:
    """End every process of the unit now. An interactive shell obeys no SIGTERM, and what it runs may obey nothing."""
    await _systemctl(name, "--signal=SIGKILL", "kill", "--", unit)


async def _systemctl(name: str, *argv: str) -> None:
    async with Child.spawn(["systemctl", "--quiet", f"--machine={name}", *argv]) as child:
        if not await finished(child.wait(), LIMIT_S):
            log.warning("%s did not answer %s within %s s", name, " ".join(argv), LIMIT_S)
        elif errors := child.errors():
            log.debug("%s in %s: %s", " ".join(argv), name, errors)
