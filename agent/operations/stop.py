"""Stop, restart and kill a container."""

from __future__ import annotations

from typing import Any

from agent.operations import create, power
from agent.operations.context import Context, Plan
from contract.orders import Kill, Restart, Stop


def stop_plan(params: Stop) -> Plan:
    return [("stop", "Power it off")]


def restart_plan(params: Restart) -> Plan:
    return [("stop", "Power it off"), ("start", "Boot it")]


def kill_plan(params: Kill) -> Plan:
    return [("kill", "Kill every process of it")]


async def run_stop(ctx: Context, params: Stop) -> dict[str, Any]:
    """One that does not run stays as it is. `clean` tells whether it powered off by itself."""
    with ctx.step("stop"):
        await power.require_image(ctx, params.name)
        if not await power.is_up(ctx, params.name):
            return {"state": "stopped", "clean": True}
        return {"state": "stopped", "clean": await power.stop_clean(ctx, params.name, params.timeout_s)}


async def run_restart(ctx: Context, params: Restart) -> dict[str, Any]:
    with ctx.step("stop"):
        await power.require_image(ctx, params.name)
        clean = True
        if await power.is_up(ctx, params.name):
            clean = await power.stop_clean(ctx, params.name, params.timeout_s)
    with ctx.step("start"):
        return await create.start(ctx, params.name) | {"clean": clean}


async def run_kill(ctx: Context, params: Kill) -> dict[str, Any]:
    with ctx.step("kill"):
        await power.require_image(ctx, params.name)
        ctx.command("machinectl", "kill", "--signal=SIGKILL", params.name)
        await power.stop_hard(ctx, params.name)
    return {"state": "stopped"}
