"""Set a container's root password with its own chpasswd(8): never by path into a tree that a container wrote."""

from __future__ import annotations

import asyncio
from typing import Any

from agent import paths
from agent.errors import AgentError, TimedOut
from agent.operations import power
from agent.operations.context import Context, Plan
from contract.orders import SetPassword

_LIMIT_S = 60.0


def plan(params: SetPassword) -> Plan:
    return [("password", "Set the root password")]


async def run(ctx: Context, params: SetPassword) -> dict[str, Any]:
    """The hash travels on standard input: no process list and no shown command has it."""
    with ctx.step("password"):
        await power.require_image(ctx, params.name)
        running = await ctx.machined.is_running(params.name)
        argv = _inside(params.name) if running else _beside(ctx, params.name)
        ctx.command(*argv)
        await _feed(argv, f"root:{params.root_password_hash}\n", params.name)
    return {}


def _inside(name: str) -> list[str]:
    """In the running container, as a unit of its own systemd."""
    return ["systemd-run", f"--machine={name}", "--pipe", "--wait", "--quiet", "--collect", "--", "chpasswd", "-e"]


def _beside(ctx: Context, name: str) -> list[str]:
    """In the stopped one: a container of one command, with the same user namespace rules and no network.

    By systemd-run, so that it runs outside of the agent's own sandbox.
    """
    wrap = ["systemd-run", f"--unit={ctx.unit}", "--pipe", "--wait", "--quiet", "--collect", "--"]
    return [
        *wrap,
        "systemd-nspawn",
        "--quiet",
        f"--directory={paths.MACHINES / name}",
        f"--machine={name}",
        "--settings=no",
        "--register=no",
        "--keep-unit",
        "--private-users=pick",
        "--private-users-ownership=auto",
        "--private-network",
        "--link-journal=no",
        "--resolv-conf=off",
        "--timezone=off",
        "--console=pipe",
        "--",
        "/usr/sbin/chpasswd",
        "-e",
    ]


async def _feed(argv: list[str], text: str, name: str) -> None:
    process = await asyncio.create_subprocess_exec(
        *argv, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    try:
        async with asyncio.timeout(_LIMIT_S):
            out, _ = await process.communicate(text.encode())
    except TimeoutError:
        raise TimedOut(f"Setting the password in {name} took longer than {_LIMIT_S:.0f} seconds.") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        why = out.decode(errors="replace").strip()[-1000:]
        raise AgentError(f"chpasswd in {name} failed.", why=why, code="password_failed")
