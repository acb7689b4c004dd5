"""Look at every container and base image of the host."""

from __future__ import annotations

from typing import Any

from agent import machines
from agent.operations.context import Context, Plan
from contract.orders import Inventory


def plan(params: Inventory) -> Plan:
    return [("inventory", "Look at every container and base image")]


async def run(ctx: Context, params: Inventory) -> dict[str, Any]:
    """Names and states; the live service reports the rest by itself."""
    with ctx.step("inventory"):
        ctx.command("machinectl", "list-images")
        ctx.command("machinectl", "list")
        found = await machines.list_machines(ctx.bus)
    return {
        "machines": {machine.name: machine.state.value for machine in found},
        "images": [image.name for image in machines.list_images()],
    }
