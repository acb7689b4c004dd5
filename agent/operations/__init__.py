"""The closed list of what the agent does, one file each."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from agent.operations import autostart, build_image, create, inventory, remove, set_password, start, stop
from agent.operations.context import Context, Plan
from contract.orders import Kind, Params


async def nothing_to_undo(ctx: Context, params: Any) -> None:
    """Each of its steps is whole."""


@dataclass(frozen=True)
class Operation:
    """`plan` tells the steps to come; `run` takes them and gives facts for the job's result.

    `run` undoes by itself what it half did; `undo` is for a job that is given up.
    """

    plan: Callable[[Any], Plan]
    run: Callable[[Context, Any], Awaitable[dict[str, Any]]]
    undo: Callable[[Context, Any], Awaitable[None]] = nothing_to_undo


OPERATIONS: dict[Kind, Operation] = {
    Kind.BUILD_IMAGE: Operation(build_image.plan, build_image.run, build_image.undo),
    Kind.CREATE: Operation(create.plan, create.run, create.undo),
    Kind.START: Operation(start.plan, start.run),
    Kind.STOP: Operation(stop.stop_plan, stop.run_stop),
    Kind.RESTART: Operation(stop.restart_plan, stop.run_restart),
    Kind.KILL: Operation(stop.kill_plan, stop.run_kill),
    Kind.ENABLE: Operation(autostart.enable_plan, autostart.run_enable),
    Kind.DISABLE: Operation(autostart.disable_plan, autostart.run_disable),
    Kind.SET_PASSWORD: Operation(set_password.plan, set_password.run),
    Kind.REMOVE: Operation(remove.plan, remove.run),
    Kind.INVENTORY: Operation(inventory.plan, inventory.run),
}


def machine_of(params: Params) -> str:
    """The container whose lock the operation needs; "" for none."""
    return getattr(params, "name", "")
