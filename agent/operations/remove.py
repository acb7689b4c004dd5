"""Remove a container with all its data and settings."""

from __future__ import annotations

from typing import Any

from agent import records
from agent.operations import create
from agent.operations.context import Context, Plan
from contract.orders import Remove


def plan(params: Remove) -> Plan:
    return [("remove", "Stop it and remove it with all its data")]


async def run(ctx: Context, params: Remove) -> dict[str, Any]:
    """Removing what is not there, or only in part, succeeds."""
    with ctx.step("remove"):
        if params.only_managed and records.machine(params.name) is None:
            ctx.output([f"Nothing of the portal's is called {params.name} here."])
            return {"existed": False}
        existed = await ctx.machined.image_exists(params.name)
        ctx.command("machinectl", "terminate", params.name)
        ctx.command("machinectl", "remove", params.name)
        await create.discard(ctx, params.name)
    return {"existed": existed}
