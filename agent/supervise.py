"""`run jobs`: the Celery worker as a child, and beside it whatever a dead worker left: jobs to resume, traces to clear.

Crash-only: stopping kills at once what does not end soon, and the next start goes on where that stood. Long work lives
in transient units and does not notice.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
from uuid import UUID

from agent import locks, log, paths
from agent.errors import AgentError
from agent.operations.context import Context
from agent.operations.trees import remove_image
from agent.runner import run_order
from agent.store import Store
from agent.systemd.bus import Bus, DBusError
from contract.orders import Order

_log = logging.getLogger(__name__)
_LOOK_S = 15.0
_PRUNE_S = 6 * 3600.0
_AT_ONCE = 4


async def supervise() -> int:
    """Until SIGTERM or the worker's end; its exit code."""
    log.setup()
    store = Store()
    await clear_traces(store)
    environment = os.environ | {"PYTHONUNBUFFERED": "1"}
    worker = await asyncio.create_subprocess_exec(sys.executable, "-m", "agent", "run", "worker", env=environment)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, _pass_on, worker, number)
    chores = [asyncio.create_task(_resume_for_ever(store)), asyncio.create_task(_prune_for_ever(store))]
    code = await worker.wait()
    _log.info("worker ended with %d", code)
    for chore in chores:
        if chore.done() and not chore.cancelled() and (error := chore.exception()):
            _log.error("a chore of the supervisor had failed", exc_info=error)
    sys.stderr.flush()
    # Not by way of asyncio: cancelling a resumed job would undo it, and it shall be resumed again.
    os._exit(0 if code in (0, -signal.SIGTERM) else 1)


def _pass_on(worker: asyncio.subprocess.Process, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        worker.send_signal(number)


def orphans(store: Store) -> list[Order]:
    """Jobs that began and that no process works on."""
    return [order for order in store.running() if not locks.is_held(locks.job(str(order.job)))]


async def _resume_for_ever(store: Store) -> None:
    gate = asyncio.Semaphore(_AT_ONCE)

    async def resume(order: Order) -> None:
        async with gate:
            await run_order(order, store)

    underway: dict[UUID, asyncio.Task[None]] = {}
    while True:
        underway = {job: task for job, task in underway.items() if not task.done()}
        for order in orphans(store):
            if order.job not in underway:
                _log.info("resuming job %s", order.job)
                underway[order.job] = asyncio.create_task(resume(order))
        await asyncio.sleep(_LOOK_S)


async def _prune_for_ever(store: Store) -> None:
    while True:
        store.prune()
        await asyncio.sleep(_PRUNE_S)


async def clear_traces(store: Store) -> None:
    """Scratch trees and transient units of jobs that are over: what a power cut left."""
    alive = {order.job for order in store.running()}
    try:
        async with Bus.session() as bus:
            for job in (await _trace_jobs(bus)) - alive:
                _log.warning("clearing what job %s left", job)
                await _clear(Context(job, store, bus))
    except (DBusError, TimeoutError):
        _log.exception("traces of dead jobs could not be cleared")


async def _trace_jobs(bus: Bus) -> set[UUID]:
    found = set()
    for place in paths.MACHINES.glob(".nspawnweb-*"):
        with contextlib.suppress(ValueError):
            found.add(UUID(place.name.removeprefix(".nspawnweb-")))
    for unit, _, _ in await Context(UUID(int=0), Store(), bus).systemd.list_units("nspawnweb-*.service"):
        with contextlib.suppress(ValueError):
            found.add(UUID(unit.removeprefix("nspawnweb-").removesuffix(".service")))
    return found


async def _clear(ctx: Context) -> None:
    try:
        await ctx.drop_unit()
        await remove_image(ctx, ctx.scratch)
    except (AgentError, TimeoutError):
        _log.exception("traces of job %s could not be cleared", ctx.job)
