"""The job journal and the outbox."""

from __future__ import annotations

import asyncio
import multiprocessing
import time
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest

from agent.store import ClaimKind, Store
from contract.events import Finished, Outcome, Output, Refused, Started
from contract.orders import PARAMS, Order

SECRET = "$6$abc$" + "x" * 86


def make_order(**changes: object) -> Order:
    now = datetime.now(UTC)
    values = {"job": uuid4(), "host": uuid4(), "issued": now, "expires": now + timedelta(days=1)} | changes
    params = values.pop("params", {"kind": "host.inventory"})
    return Order(params=PARAMS.validate_python(params), **values)  # type: ignore[arg-type]


def _append_many(job: UUID, count: int) -> None:
    store = Store()
    for number in range(count):
        store.append(job, Output(step="s", lines=[str(number)]))


def test_an_order_is_new_once_and_resumed_until_it_ends(agent_store: Store) -> None:
    order = make_order()
    assert agent_store.claim(order).kind is ClaimKind.NEW
    again = agent_store.claim(order)
    assert (again.kind, again.attempt) == (ClaimKind.RESUME, 2)
    agent_store.finish(order.job, Finished(outcome=Outcome.SUCCEEDED))
    assert agent_store.claim(order).kind is ClaimKind.FINISHED


def test_another_order_under_a_known_id_is_a_replay(agent_store: Store) -> None:
    order = make_order()
    agent_store.claim(order)
    other = make_order(job=order.job, host=order.host)
    assert agent_store.claim(other).kind is ClaimKind.REPLAYED


def test_a_redelivered_finished_job_queues_its_last_event_again(agent_store: Store) -> None:
    order = make_order()
    agent_store.claim(order)
    agent_store.append(order.job, Started(attempt=1, agent_version="1"))
    agent_store.finish(order.job, Finished(outcome=Outcome.SUCCEEDED))
    agent_store.mark_sent_until(agent_store.unsent()[-1][0])
    agent_store.claim(order)
    ((_, event),) = agent_store.unsent()
    assert isinstance(event.body, Finished) and event.seq == 2


def test_a_second_end_of_a_job_is_dropped(agent_store: Store) -> None:
    order = make_order()
    agent_store.claim(order)
    agent_store.finish(order.job, Finished(outcome=Outcome.SUCCEEDED))
    agent_store.finish(order.job, Finished(outcome=Outcome.FAILED))
    assert [event.body.outcome for event in agent_store.events_after(order.job, 0)] == [Outcome.SUCCEEDED]  # type: ignore[union-attr]


def test_events_of_many_processes_are_numbered_without_gap(agent_store: Store) -> None:
    order = make_order()
    agent_store.claim(order)
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_append_many, args=(order.job, 50)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [event.seq for event in agent_store.events_after(order.job, 0)] == list(range(1, 151))
    assert [event.seq for _, event in agent_store.unsent(1000)] == list(range(1, 151))


def test_a_store_is_usable_on_both_sides_of_a_fork(agent_store: Store) -> None:
    order = make_order()
    agent_store.claim(order)
    child = multiprocessing.get_context("fork").Process(
        target=agent_store.append, args=(order.job, Output(step="s", lines=["child"]))
    )
    child.start()
    child.join(30)
    assert child.exitcode == 0
    agent_store.append(order.job, Output(step="s", lines=["parent"]))
    assert len(agent_store.events_after(order.job, 0)) == 2


def test_events_can_be_sent_again(agent_store: Store) -> None:
    order = make_order()
    agent_store.claim(order)
    for number in range(5):
        agent_store.append(order.job, Output(step="s", lines=[str(number)]))
    for rowid, _ in agent_store.unsent():
        agent_store.mark_sent(rowid)
    assert agent_store.unsent() == []
    assert agent_store.requeue(order.job, 3) == 2
    assert [event.seq for _, event in agent_store.unsent()] == [4, 5]


def test_the_cursor_survives_with_the_output_that_it_belongs_to(agent_store: Store) -> None:
    order = make_order()
    agent_store.claim(order)
    agent_store.append(order.job, Output(step="s", lines=["a"]), cursor="s=1")
    assert agent_store.claim(order).cursor == "s=1"


def test_a_finished_job_keeps_no_password(agent_store: Store) -> None:
    order = make_order(params={"kind": "container.password", "name": "web1", "root_password_hash": SECRET})
    agent_store.claim(order)
    assert [one.job for one in agent_store.running()] == [order.job]
    agent_store.finish(order.job, Finished(outcome=Outcome.SUCCEEDED))
    assert agent_store.running() == []
    agent_store._connection().execute("PRAGMA wal_checkpoint(TRUNCATE)")
    agent_store._connection().execute("VACUUM")
    assert SECRET.encode() not in agent_store._path.read_bytes()


def test_a_refused_order_is_reported_under_its_job_once(agent_store: Store) -> None:
    order = make_order()
    agent_store.refuse(Refused(code="expired", why="late"), order)
    agent_store.refuse(Refused(code="expired", why="late"), order)
    assert [(event.job, event.seq) for _, event in agent_store.unsent()] == [(order.job, 1), (None, 0)]
    assert agent_store.claim(order).kind is not ClaimKind.NEW


def test_a_live_request_is_remembered_until_it_expires(agent_store: Store) -> None:
    request, soon = uuid4(), datetime.now(UTC) + timedelta(seconds=30)
    assert not agent_store.seen_request(request, soon)
    assert agent_store.seen_request(request, soon)
    old, past = uuid4(), datetime.now(UTC) - timedelta(hours=1)
    assert not agent_store.seen_request(old, past)
    assert not agent_store.seen_request(uuid4(), soon)
    assert not agent_store.seen_request(old, past), "forgotten once expired"


def test_a_cancel_can_come_before_its_job(agent_store: Store) -> None:
    job = uuid4()
    assert not agent_store.cancel_requested(job)
    agent_store.request_cancel(job)
    agent_store.request_cancel(job)
    assert agent_store.cancel_requested(job)


def test_pruning_forgets_events_of_old_jobs_but_not_their_ids(agent_store: Store) -> None:
    old, running = make_order(), make_order()
    for order in (old, running):
        agent_store.claim(order)
        agent_store.append(order.job, Output(step="s", lines=["a"]))
    agent_store.finish(old.job, Finished(outcome=Outcome.SUCCEEDED))
    agent_store.prune(keep_s=0)
    assert agent_store.events_after(old.job, 0) == []
    assert len(agent_store.events_after(running.job, 0)) == 1
    assert agent_store.claim(old).kind is ClaimKind.FINISHED


async def test_a_nudge_wakes_within_milliseconds(agent_store: Store) -> None:
    order = make_order()
    agent_store.claim(order)
    assert not await agent_store.wait_nudge(0.01)
    waiting = asyncio.create_task(agent_store.wait_nudge(5))
    await asyncio.sleep(0)
    began = time.monotonic()
    agent_store.append(order.job, Output(step="s", lines=["a"]))
    assert await waiting
    assert time.monotonic() - began < 1


def test_an_event_of_an_unknown_job_is_an_error(agent_store: Store) -> None:
    with pytest.raises(KeyError):
        agent_store.append(uuid4(), Output(step="s", lines=["a"]))
