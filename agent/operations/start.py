"""Start a container."""

from __future__ import annotations

from typing import Any

from agent.operations import create, power
from agent.operations.context import Context, Plan
from contract.orders import Start


def plan(params: Start) -> Plan:
    return [("start", "Boot it")]


async def run(ctx: Context, params: Start) -> dict[str, Any]:
    """One that runs already stays as it is."""
    with ctx.step("start"):
        await power.require_image(ctx, params.name)
        return await create.start(ctx, params.name)
