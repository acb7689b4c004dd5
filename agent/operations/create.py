"""Create a container: clone the base image, make the clone its own, write its settings, start it.

The clone is made under the job's scratch name and gets the container's name when it is whole, so a container
under its name is never half-made.
"""

from __future__ import annotations

import logging
from typing import Any

from agent import locks, machines, paths, records
from agent.errors import AgentError, NameTaken
from agent.operations import autostart, identity, power, settings, trees
from agent.operations.build_image import BUILD_STEPS, cloning_space, ensure_base, skip_steps, stands, tell_of_wait
from agent.operations.context import Context, Plan
from agent.systemd.bus import DBusError, NoSuchImage
from contract.orders import Create

_log = logging.getLogger(__name__)


def plan(params: Create) -> Plan:
    steps: Plan = [] if stands(params.release) else list(BUILD_STEPS)
    steps += [("clone", "Clone the base image"), ("identity", "Give it its own identity")]
    steps.append(("settings", "Write its settings"))
    if params.autostart:
        steps.append(("autostart", "Start it with the host"))
    if params.start:
        steps.append(("start", "Boot it"))
    return steps


async def run(ctx: Context, params: Create) -> dict[str, Any]:
    """The operation. Raises NameTaken, DiskFull, BootFailed, and what building a base raises."""
    mine = _is_mine(ctx, params.name)
    if not mine:
        await _require_free_name(ctx, params.name)
    try:
        if not mine or not await ctx.machined.image_exists(params.name):
            await _make_tree(ctx, params)
        return await _settle(ctx, params)
    except BaseException:
        await undo(ctx, params)
        raise


def _is_mine(ctx: Context, name: str) -> bool:
    """An interrupted run of this job had claimed the name."""
    record = records.machine(name)
    return record is not None and record.get("job") == str(ctx.job)


async def _require_free_name(ctx: Context, name: str) -> None:
    if await ctx.machined.image_exists(name) or await ctx.machined.is_running(name):
        raise NameTaken(f"The name {name} is taken on this host.", why="A container of that name is there already.")
    settings.require_free(name)


async def _make_tree(ctx: Context, params: Create) -> None:
    """From base image to a tree under the container's name."""
    base = records.base_name(params.release)
    while True:
        async with locks.hold(locks.image(base), shared=True, on_wait=lambda: tell_of_wait(ctx, base)):
            if stands(params.release):
                skip_steps(ctx)
                await _clone(ctx, params, base)
                break
        await ensure_base(ctx, params.release)
    with ctx.step("identity"):
        scratch = paths.MACHINES / ctx.scratch
        identity.personalise(scratch, params.name, params.root_password_hash)
        records.write_machine(params.name, job=ctx.job, base=base, release=params.release)
        trees.rename_new(scratch, paths.MACHINES / params.name)


async def _clone(ctx: Context, params: Create, base: str) -> None:
    with ctx.step("clone"):
        trees.require_space(cloning_space(params.release))
        if ctx.attempt > 1:
            await trees.remove_image(ctx, ctx.scratch)
        ctx.command("machinectl", "clone", base, params.name)
        try:
            await trees.clone_image(ctx, base, ctx.scratch)
        except NoSuchImage as error:
            raise AgentError(f"The base image {base} cannot be read.", why=error.what, code="image_broken") from error


async def _settle(ctx: Context, params: Create) -> dict[str, Any]:
    name = params.name
    with ctx.step("settings"):
        for file, text in settings.files(name).items():
            ctx.command("editor", str(file))
            ctx.output(text.splitlines())
        settings.write(name)
    if params.autostart:
        with ctx.step("autostart"):
            await autostart.enable(ctx, name)
    result: dict[str, Any] = {"state": "stopped", "addresses": []}
    if params.start:
        with ctx.step("start"):
            result = await start(ctx, name)
    return result


async def start(ctx: Context, name: str) -> dict[str, Any]:
    """Boot it; how it is then, and its addresses as far as it has them by now."""
    state = await power.boot(ctx, name)
    return {"state": state, "addresses": await ctx.machined.addresses(name)}


async def undo(ctx: Context, params: Create) -> None:
    """Nothing half-made stays. Only what this job made is touched."""
    name = params.name
    await _attempt(ctx, "unit", ctx.drop_unit())
    await _attempt(ctx, "scratch", trees.remove_image(ctx, ctx.scratch))
    if _is_mine(ctx, name):
        await _attempt(ctx, "machine", discard(ctx, name))


async def _attempt(ctx: Context, what: str, act: Any) -> None:
    """A clean-up that fails must not hide why it was needed, nor stop the next one."""
    try:
        await act
    except (AgentError, DBusError, OSError, TimeoutError) as error:
        _log.exception("clean-up of %s failed", what)
        ctx.output([f"Cleaning up after the failure did not work ({what}): {error}"])


async def discard(ctx: Context, name: str) -> None:
    """Stop and remove a container with its image, settings and record; each may be gone already."""
    if await power.is_up(ctx, name):
        await power.stop_hard(ctx, name)
    if machines.is_enabled(name):
        await autostart.disable(ctx, name)
    await trees.remove_image(ctx, name)
    settings.remove(name)
    records.drop_machine(name)
