"""The jobs worker over a real Redis with TLS and the host's own user: what it obeys, and what it refuses.

There is no systemd here: an order that gets through ends with "bus_gone", which proves that it got through.
"""

from __future__ import annotations

import base64
import json
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
import redis

from agent.config import Config
from agent.enrol import enrol
from agent.pinned import Trust
from agent.store import Store
from contract import keys
from contract.events import Event, Finished, Refused
from contract.live import HostFacts
from contract.orders import QUEUE
from tests.agent.small_portal import SmallPortal, make_signer, wait_until


def facts() -> HostFacts:
    now = datetime.now(UTC)
    return HostFacts(
        hostname="here", agent_version="0", os="", kernel="", arch="", systemd="", cpus=1, memory_bytes=1,
        pool_fs="", pool_bytes=1, boot_time=now,
    )  # fmt: skip


@dataclass
class Worker:
    portal: SmallPortal
    config: Config
    store: Store
    process: subprocess.Popen[bytes]

    @property
    def host(self) -> UUID:
        return self.config.host

    def events(self) -> list[Event]:
        return [event for _, event in self.store.unsent(1000)]

    def refusal(self, code: str) -> Event:
        def found() -> Event | None:
            return next((e for e in self.events() if isinstance(e.body, Refused) and e.body.code == code), None)

        event: Event = wait_until(found, 30, f"a refusal {code}, got {self.events()}")
        return event

    def end(self, job: UUID) -> Finished:
        def found() -> Finished | None:
            bodies = [event.body for event in self.store.events_after(job, 0)]
            return next((body for body in bodies if isinstance(body, Finished)), None)

        body: Finished = wait_until(found, 30, f"end of {job}, got {self.events()}")
        return body

    def settle(self) -> None:
        """An order after the others went through: whatever came before it was dealt with."""
        order = self.portal.order(self.host, {"kind": "host.inventory"})
        self.portal.publish(self.host, order)
        self.end(order.job)
        waiting = keys.prefix(self.host) + "unacked"
        wait_until(lambda: not self.portal.client.hlen(waiting), 30, "acknowledgements")


@pytest.fixture(scope="module")
def worker(small_portal: SmallPortal, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    with pytest.MonkeyPatch.context() as patch:
        folder = Path(tempfile.mkdtemp(prefix="nwa-"))
        for name in ("etc", "state", "run"):
            patch.setenv(f"NSPAWNWEB_AGENT_{name.upper()}", str(folder / name))
        patch.setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nonexistent")
        config = enrol(small_portal.url, small_portal.token(), Trust(small_portal.pin), facts(), folder / "etc")
        process = subprocess.Popen([sys.executable, "-m", "agent", "run", "worker"])
        yield Worker(small_portal, config, Store(), process)
        process.terminate()
        process.wait(30)


def test_a_signed_order_for_this_host_gets_through(worker: Worker) -> None:
    order = worker.portal.order(worker.host, {"kind": "host.inventory"})
    worker.portal.publish(worker.host, order)
    failure = worker.end(order.job).failure
    assert failure is not None and failure.code == "bus_gone"


def test_unsigned_messages_are_refused_and_reported(worker: Worker) -> None:
    order = worker.portal.order(worker.host, {"kind": "host.inventory"})
    body = json.dumps([[order.model_dump(mode="json")], {}, {}])
    worker.portal.publish_raw(worker.host, body, content_type="application/json")
    event = worker.refusal("unsigned")
    assert event.job is None
    worker.settle()
    assert not worker.store.knows(order.job)


def test_a_pickle_is_never_opened(worker: Worker, tmp_path: Path) -> None:
    trap = tmp_path / "trap"

    class Bomb:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (trap,))

    body = pickle.dumps([[Bomb()], {}, {}])
    worker.portal.publish_raw(worker.host, body, content_type="application/x-python-serialize")
    worker.settle()
    assert not trap.exists()


def test_orders_signed_by_somebody_else_are_refused(worker: Worker) -> None:
    order = worker.portal.order(worker.host, {"kind": "host.inventory"})
    body = worker.portal.signed_body([[order.model_dump(mode="json")], {}, {}], make_signer("orders"))
    worker.portal.publish_raw(worker.host, body)
    worker.settle()
    assert not worker.store.knows(order.job)


def test_a_changed_order_is_refused(worker: Worker) -> None:
    order = worker.portal.order(worker.host, {"kind": "host.inventory"})
    signed = base64.b64decode(worker.portal.signed_body([[order.model_dump(mode="json")], {}, {}]))
    changed = base64.b64encode(signed.replace(b"host.inventory", b"container.kill"))
    worker.portal.publish_raw(worker.host, changed)
    worker.settle()
    assert not worker.store.knows(order.job)


def test_an_order_for_another_host_is_refused(worker: Worker) -> None:
    order = worker.portal.order(uuid4(), {"kind": "host.inventory"})
    worker.portal.publish(worker.host, order)
    event = worker.refusal("foreign")
    assert event.job is None and str(order.job) in event.body.why  # type: ignore[union-attr]
    assert not worker.store.knows(order.job)


def test_an_expired_order_is_refused_under_its_job(worker: Worker) -> None:
    past = datetime.now(UTC) - timedelta(seconds=1)
    order = worker.portal.order(worker.host, {"kind": "host.inventory"}, expires=past)
    worker.portal.publish(worker.host, order)
    event = worker.refusal("expired")
    assert (event.job, event.seq) == (order.job, 1)


def test_an_order_from_the_future_is_refused(worker: Worker) -> None:
    later = datetime.now(UTC) + timedelta(hours=1)
    order = worker.portal.order(worker.host, {"kind": "host.inventory"}, issued=later)
    worker.portal.publish(worker.host, order)
    assert worker.refusal("from_the_future").job == order.job


def test_a_replay_under_a_known_id_is_refused_and_an_equal_copy_runs_nothing(worker: Worker) -> None:
    order = worker.portal.order(worker.host, {"kind": "host.inventory"})
    worker.portal.publish(worker.host, order)
    worker.end(order.job)
    count = len(worker.store.events_after(order.job, 0))
    worker.portal.publish(worker.host, order)
    worker.portal.publish(worker.host, order.model_copy(update={"expires": order.expires + timedelta(days=1)}))
    worker.refusal("replayed")
    worker.settle()
    assert len(worker.store.events_after(order.job, 0)) == count


@pytest.mark.parametrize(
    "content",
    [
        "hello", [], [[], {}, {}], [[1, 2], {}, {}], [[{"kind": "x"}], {}, {}], [[{}], {"a": 1}, {}], 7,
        [[{"protocol": 99}], {}, {}],
    ],
)  # fmt: skip
def test_malformed_orders_are_refused(worker: Worker, content: Any) -> None:
    before = len([event for event in worker.events() if isinstance(event.body, Refused)])
    worker.portal.publish_raw(worker.host, worker.portal.signed_body(content))
    worker.settle()
    after = [event.body for event in worker.events() if isinstance(event.body, Refused)]
    assert len(after) == before + 1 and after[-1].code in ("malformed", "protocol")


def test_a_malformed_order_tells_no_secret(worker: Worker) -> None:
    order = worker.portal.order(worker.host, {"kind": "host.inventory"}).model_dump(mode="json")
    order["params"] = {"kind": "container.password", "name": "web1", "root_password_hash": "plain-secret"}
    worker.portal.publish_raw(worker.host, worker.portal.signed_body([[order], {}, {}]))
    worker.settle()
    assert "plain-secret" not in "".join(event.model_dump_json() for event in worker.events())


@pytest.mark.parametrize("task", ["celery.backend_cleanup", "celery.chain", "celery.chord_unlock", "os.system", ""])
def test_a_signed_body_cannot_be_led_to_another_task(worker: Worker, task: str) -> None:
    order = worker.portal.order(worker.host, {"kind": "host.inventory"})
    body = worker.portal.signed_body([[order.model_dump(mode="json")], {}, {}])
    worker.portal.publish_raw(worker.host, body, task=task)
    worker.refusal("unknown_task")
    assert not worker.store.knows(order.job)


def test_headers_cannot_put_an_order_off(worker: Worker) -> None:
    order = worker.portal.order(worker.host, {"kind": "host.inventory"})
    body = worker.portal.signed_body([[order.model_dump(mode="json")], {}, {}])
    far = (datetime.now(UTC) + timedelta(days=300)).isoformat()
    worker.portal.publish_raw(worker.host, body, eta=far, expires=datetime.now(UTC).isoformat())
    assert worker.end(order.job)


def test_a_host_s_user_reaches_no_key_of_another_host(worker: Worker) -> None:
    other = uuid4()
    worker.portal.client.lpush(keys.prefix(other) + QUEUE, "secret")
    client = redis.Redis(
        host=worker.config.redis_host, port=worker.config.redis_port, username=worker.config.redis_user,
        password=worker.config.redis_password, ssl=True, **worker.config.redis_tls(),
    )  # fmt: skip
    assert client.set(keys.prefix(worker.host) + "mine", 1)
    for act in (
        lambda: client.lpop(keys.prefix(other) + QUEUE),
        lambda: client.xadd(keys.events(other), {"d": "x"}),
        lambda: client.keys("*"),
        lambda: client.eval("return 1", 0),
        lambda: client.publish("h:x", "y"),
    ):
        with pytest.raises(redis.exceptions.NoPermissionError):
            act()


def test_orders_that_a_dead_worker_had_fetched_are_taken_up_again(worker: Worker) -> None:
    """Messages in the hash of the unacknowledged come back at the next start, not after the visibility timeout."""
    worker.process.kill()
    worker.process.wait(30)
    order = worker.portal.order(worker.host, {"kind": "host.inventory"})
    worker.portal.publish(worker.host, order)
    client, prefix = worker.portal.client, keys.prefix(worker.host)
    raw = client.rpop(prefix + QUEUE)
    client.hset(prefix + "unacked", "tag-of-the-dead", json.dumps([json.loads(raw), "", QUEUE]))
    client.zadd(prefix + "unacked_index", {"tag-of-the-dead": datetime.now(UTC).timestamp()})
    worker.process = subprocess.Popen([sys.executable, "-m", "agent", "run", "worker"])
    assert worker.end(order.job)
