"""Start and stop machines: shared by the operations start, stop, restart, kill, create and remove."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from pathlib import Path

from agent import machines, paths
from agent.errors import BootFailed, NotFound
from agent.operations.context import Context
from agent.systemd.bus import DBusError, NoSuchMachine, NoSuchUnit
from agent.systemd.systemd1 import JobFailed

BOOT_S = 600.0
"""How long a container may boot: first boots that install things are slow."""
_TIDY_S = 10.0
"""How long systemd-nspawn may take to tidy up after its machine was killed."""
_GONE_S = 30.0
"""How long a killed machine may take to vanish."""


async def require_image(ctx: Context, name: str) -> None:
    """Raises NotFound unless the container is on this host."""
    if await ctx.machined.image_exists(name) or await ctx.machined.is_running(name):
        return
    raise NotFound(
        f"There is no container {name} on this host.",
        why="It was removed, or its image was taken away by hand.",
        hint="Remove it from the portal, or create it anew.",
    )


async def boot(ctx: Context, name: str, *, limit_s: float = BOOT_S) -> str:
    """Start and wait until systemd inside has booted; "running" or "degraded". Stops it again on failure."""
    unit = paths.unit_name(name)
    await _settle(ctx, name)
    ctx.command("systemctl", "start", unit)
    try:
        return await _boot(ctx, name, limit_s)
    except JobFailed as error:
        raise await _boot_failed(name, f"{error.why}") from error
    except TimeoutError as error:
        failure = await _boot_failed(name, f"It was not up after {limit_s:.0f} seconds.")
        await stop_hard(ctx, name)
        raise failure from error
    except asyncio.CancelledError:
        await stop_hard(ctx, name)
        raise


async def _boot(ctx: Context, name: str, limit_s: float) -> str:
    async with asyncio.timeout(limit_s):
        await ctx.systemd.start(paths.unit_name(name))
        # The job is done when systemd inside is (NotifyReady=yes); a machine made by hand may not say.
        return await machines.ask_inside(name, wait=True, timeout=limit_s) or "running"


async def _settle(ctx: Context, name: str) -> None:
    """Before a start: changed files are read, a failed unit forgotten, a vanishing machine gone."""
    unit = await ctx.systemd.unit(paths.unit_name(name))
    if unit["NeedDaemonReload"]:
        ctx.command("systemctl", "daemon-reload")
        await ctx.systemd.reload()
    if unit["ActiveState"] == "failed":
        await ctx.systemd.reset_failed(paths.unit_name(name))
    if unit["ActiveState"] in ("inactive", "failed", "deactivating"):
        async with ctx.machined.removals() as removed:
            await ctx.machined.await_removed(removed, name, _GONE_S)
        await _clear_runtime(ctx, name)


async def _clear_runtime(ctx: Context, name: str) -> None:
    """Take away the mount that a killed systemd-nspawn (256 and later) leaves; it refuses to start over it."""
    if _is_mounted(f"/run/systemd/nspawn/unix-export/{name}"):
        # By systemd: this process may have a mount namespace of its own.
        escaped = name.replace("-", r"\x2d")
        await ctx.systemd.stop(rf"run-systemd-nspawn-unix\x2dexport-{escaped}.mount", timeout=_GONE_S)


def _is_mounted(path: str) -> bool:
    return Path(path).is_mount()


async def _boot_failed(name: str, why: str) -> BootFailed:
    """With the last lines of its console: there the cause stands."""
    argv = ["journalctl", "--quiet", "--output=cat", "--lines=15", "--no-pager", f"--unit={paths.unit_name(name)}"]
    process = await asyncio.create_subprocess_exec(*argv, stdout=asyncio.subprocess.PIPE)
    out, _ = await process.communicate()
    return BootFailed(f"Container {name} did not boot.", why=f"{why}\n{out.decode(errors='replace').strip()}")


async def stop_clean(ctx: Context, name: str, limit_s: float) -> bool:
    """Power off and wait; False if it did not stop in time and was stopped hard."""
    clean = True
    try:
        async with ctx.machined.removals() as removed:
            ctx.command("machinectl", "poweroff", name)
            await ctx.machined.power_off(name)
            await ctx.machined.await_removed(removed, name, limit_s)
    except NoSuchMachine:
        pass  # it stopped by itself, or never came so far
    except TimeoutError:
        clean = False
        ctx.output([f"{name} did not power off within {limit_s:.0f} seconds."])
        ctx.command("machinectl", "terminate", name)
    await stop_hard(ctx, name)
    return clean


async def stop_hard(ctx: Context, name: str) -> None:
    """Whatever is left of it ends now. What does not run is no error."""
    unit = paths.unit_name(name)
    await _kill_all(ctx, name)
    try:
        await ctx.systemd.stop(unit, timeout=_GONE_S)
        await ctx.systemd.reset_failed(unit)
    except NoSuchUnit:
        pass
    async with ctx.machined.removals() as removed:
        await ctx.machined.await_removed(removed, name, _GONE_S)
    await _clear_runtime(ctx, name)


async def _kill_all(ctx: Context, name: str) -> None:
    """Kill its PID 1: the kernel kills the rest of the namespace, and systemd-nspawn, left alive, tidies up."""
    with contextlib.suppress(NoSuchMachine, TimeoutError):
        await ctx.machined.kill(name, signal.SIGKILL)
        await _await_down(ctx, name, _TIDY_S)
    active = await ctx.systemd.unit_property(paths.unit_name(name), "ActiveState")
    try:
        if active not in ("inactive", "failed"):
            await ctx.systemd.kill(paths.unit_name(name), signal.SIGKILL)
        elif await ctx.machined.is_running(name):
            await ctx.machined.terminate(name)
    except (NoSuchUnit, NoSuchMachine):
        pass
    except DBusError as error:
        if "no process" not in error.message.lower():
            raise


async def _await_down(ctx: Context, name: str, limit_s: float) -> None:
    unit = paths.unit_name(name)
    async with asyncio.timeout(limit_s), ctx.systemd.changes(unit) as changes:
        while await ctx.systemd.unit_property(unit, "ActiveState") not in ("inactive", "failed"):
            await changes.next()


async def is_up(ctx: Context, name: str) -> bool:
    """Whether any part of it runs, starting and stopping included."""
    active = await ctx.systemd.unit_property(paths.unit_name(name), "ActiveState")
    return active not in ("inactive", "failed") or await ctx.machined.is_running(name)
