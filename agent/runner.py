"""Run one verified order from claim to its last event: locks, cancel, failure in plain words."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import Any

from agent import VERSION, locks, log, nudge
from agent.errors import AgentError, Cancelled, TimedOut, unexpected
from agent.operations import OPERATIONS, machine_of
from agent.operations.context import Context
from agent.store import ClaimKind, Store, cancel_address
from agent.systemd.bus import Bus
from contract.events import Failure, Finished, Outcome, Refused, Started
from contract.orders import Order

_log = logging.getLogger(__name__)
ATTEMPTS = 5
_LOOK_S = 2.0
"""A cancel whose wake-up got lost is seen after this long."""


async def run_order(order: Order, store: Store) -> None:
    """Do what a verified order says, once. A redelivery waits for the first run, and then finds nothing to do."""
    log.job_id.set(str(order.job))
    async with locks.hold(locks.job(str(order.job))):
        claim = store.claim(order)
        if claim.kind is ClaimKind.FINISHED:
            _log.info("order is a redelivery of a finished job; its last event is sent again")
        elif claim.kind is ClaimKind.REPLAYED:
            _log.warning("refused: another order bore this id")
            store.refuse(Refused(code="replayed", why=f"Job {order.job} was known by another order."), order)
        else:
            _log.info("%s begins, attempt %d", order.params.kind.value, claim.attempt)
            finished = await _guarded(order, store, claim.attempt, claim.cursor)
            store.finish(order.job, finished)
            _log.info("%s %s", order.params.kind.value, finished.outcome.value)


async def _guarded(order: Order, store: Store, attempt: int, cursor: str) -> Finished:
    """The job's end, whatever happens."""
    try:
        result = await _cancellable(order, store, attempt, cursor)
    except (Cancelled, AgentError, TimeoutError, Exception) as error:
        return _ending(error)
    return Finished(outcome=Outcome.SUCCEEDED, result=result)


def _ending(error: Exception) -> Finished:
    if isinstance(error, Cancelled):
        return Finished(outcome=Outcome.CANCELLED, failure=error.failure())
    if isinstance(error, AgentError):
        _log.warning("failed: %s: %s", error.code, error)
        return Finished(outcome=Outcome.FAILED, failure=error.failure())
    _log.exception("failed unexpectedly")
    failure: Failure = unexpected(error)
    if isinstance(error, TimeoutError):
        failure = TimedOut("systemd did not answer in time.", hint="Look at the host's load, then retry.").failure()
    return Finished(outcome=Outcome.FAILED, failure=failure)


async def _cancellable(order: Order, store: Store, attempt: int, cursor: str) -> dict[str, Any]:
    """Run the operation while listening for a cancel. Raises Cancelled once its clean-up is done."""
    receiver = nudge.Receiver(cancel_address(order.job))
    try:
        work = asyncio.ensure_future(_operate(order, store, attempt, cursor))
        watch = asyncio.ensure_future(_cancel_wanted(order, store, receiver))
        await asyncio.wait({work, watch}, return_when=asyncio.FIRST_COMPLETED)
        cancelling = watch.done() and not work.done()
        watch.cancel()
        if cancelling:
            _log.info("cancelling")
            work.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            return await work
        raise Cancelled("The job was cancelled.", why="Everything that it had begun was undone.")
    finally:
        receiver.close()


async def _cancel_wanted(order: Order, store: Store, receiver: nudge.Receiver) -> None:
    while not store.cancel_requested(order.job):
        await receiver.wait(_LOOK_S)


async def _operate(order: Order, store: Store, attempt: int, cursor: str) -> dict[str, Any]:
    operation = OPERATIONS[order.params.kind]
    async with contextlib.AsyncExitStack() as stack:
        bus = await stack.enter_async_context(Bus.session())
        ctx = Context(order.job, store, bus, attempt, cursor)
        plan = operation.plan(order.params)
        ctx.announce(plan)
        ctx.emit(Started(attempt=attempt, agent_version=VERSION, steps=plan))
        if name := machine_of(order.params):
            wait_note = [f"Another job works on {name}; waiting for it."]
            lock = locks.hold(locks.machine(name), on_wait=lambda: ctx.output(wait_note))
            await stack.enter_async_context(lock)
        if attempt > ATTEMPTS:
            await operation.undo(ctx, order.params)
            raise AgentError(
                "The job was given up.",
                why=f"The agent died {ATTEMPTS} times while it ran.",
                hint="Look at the journal of nspawnweb-agent-jobs on the host.",
                code="interrupted",
            )
        return await operation.run(ctx, order.params)
