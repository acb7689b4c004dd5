"""Start with the host, or not: what `machinectl enable` and `machinectl disable` do."""

from __future__ import annotations

from typing import Any

from agent import machines, paths
from agent.operations.context import Context, Plan
from agent.operations.power import require_image
from contract.orders import Disable, Enable


def enable_plan(params: Enable) -> Plan:
    return [("enable", "Start it with the host")]


def disable_plan(params: Disable) -> Plan:
    return [("disable", "Do not start it with the host")]


async def run_enable(ctx: Context, params: Enable) -> dict[str, Any]:
    with ctx.step("enable"):
        await require_image(ctx, params.name)
        await enable(ctx, params.name)
    return {"enabled": machines.is_enabled(params.name)}


async def run_disable(ctx: Context, params: Disable) -> dict[str, Any]:
    with ctx.step("disable"):
        await disable(ctx, params.name)
    return {"enabled": machines.is_enabled(params.name)}


async def enable(ctx: Context, name: str) -> None:
    """Also machines.target: without it no machine starts with the host."""
    ctx.command("machinectl", "enable", name)
    await ctx.systemd.enable([paths.unit_name(name), "machines.target"])


async def disable(ctx: Context, name: str) -> None:
    ctx.command("machinectl", "disable", name)
    await ctx.systemd.disable([paths.unit_name(name)])
