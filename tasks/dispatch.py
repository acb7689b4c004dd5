"""Sending orders to hosts: a Celery message in the `auth` serializer, on the host's own queue.

A job is marked as sent in the transaction that gives it its turn, and sent after the commit. Where that fails, or the
process dies in between, the sweep (tasks.sweep) sends it again. An order is the same to the byte each time, and the
agent keeps the orders it has taken, so one that arrives twice runs once.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from datetime import datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID

import structlog
from celery import Celery
from celery.security.certificate import Certificate, CertStore
from celery.security.key import PrivateKey
from celery.security.serialization import SecureSerializer
from django.conf import settings
from django.db import transaction
from kombu import Connection, Producer
from kombu.serialization import register

from contract import keys
from contract.events import Failure
from contract.orders import PARAMS, QUEUE, TASK_NAME, Order
from tasks import pki, sealing
from tasks.models import Job, JobState
from tasks.redis import TIMEOUT_S, broker_url, client
from tasks.registry import handlers
from tasks.transitions import transition
from tasks.turns import give_turn

log = structlog.get_logger(__name__)
KEPT_MAX = 16
"""Hosts to which a thread keeps a connection open."""
_local = threading.local()
_lock = threading.Lock()
_ready: set[str] = set()
_app = Celery("nspawnweb-orders", set_as_current=False)


def expires_at(job: Job) -> datetime:
    """When the order of a job that has not begun runs out."""
    return job.created_at + timedelta(seconds=settings.ORDER_LIFETIME_S)


def order_of(job: Job) -> Order:
    """The job's order, equal at every call. Raises tasks.sealing.UnsealError, pydantic.ValidationError."""
    return Order(
        job=job.pk,
        host=job.host_id,
        issued=job.created_at,
        expires=expires_at(job),
        params=PARAMS.validate_python(sealing.join(job.params, job.sealed)),
    )


def send_on_commit(job: Job) -> None:
    """Send the job's order once the transaction around it is committed."""
    transaction.on_commit(partial(send, job), robust=True)


def send(job: Job) -> bool:
    """Send the order now. False: Redis is down; the job stays queued and the sweep sends it later."""
    try:
        order = order_of(job)
    except ValueError as error:  # of UnsealError and pydantic's: no order can ever be made of it
        log.error("order_impossible", job=str(job.pk), error=str(error))
        _fail_unsendable(job, str(error))
        return False
    try:
        _publish(order)
    except Exception as error:  # kombu, redis and sockets raise many kinds; whichever it is, the sweep tries again
        log.warning("order_not_sent", job=str(job.pk), host=job.host_name, error=str(error))
        Job.objects.filter(pk=job.pk, state=JobState.QUEUED).update(sent_at=None)
        return False
    log.info("order_sent", job=str(job.pk), host=job.host_name, kind=job.kind)
    return True


def take_turn(container_id: UUID | None) -> None:
    """Give the container to the job that has waited longest, and send it. Nothing to do if somebody holds it."""
    if container_id is None:
        return
    with transaction.atomic():
        job = give_turn(container_id)
        if job is not None and not handlers().may_run(job):
            failure = Failure(
                code="no_longer_possible",
                what="The job was not begun.",
                why="While it waited, its container was removed or its host was revoked.",
            )
            transition(job, JobState.FAILED, failure=failure)
            transaction.on_commit(partial(take_turn, container_id), robust=True)
        elif job is not None:
            send_on_commit(job)


def queued_orders(host_id: UUID) -> list[bytes]:
    """The raw messages that wait in a host's queue (a job's id stands in the headers in plain text)."""
    found: Any = client().lrange(keys.prefix(host_id) + QUEUE, 0, -1)
    return list(found)


def withdraw(job: Job) -> bool:
    """Take a job's order out of its host's queue. False: it was not there (taken, or never sent)."""
    mine = [raw for raw in queued_orders(job.host_id) if str(job.pk).encode() in raw]
    for raw in mine:
        client().lrem(keys.prefix(job.host_id) + QUEUE, 0, raw)  # type: ignore[arg-type]
    return bool(mine)


def _publish(order: Order) -> None:
    """Straight into the host's queue, through the nameless exchange: nothing to declare, nothing that can be missing.

    A connection that was kept may have died since: a new one is tried once. The agent tells two copies apart.
    """
    register_serializer()
    message = _app.amqp.as_task_v2(
        str(order.job),
        TASK_NAME,
        args=(order.model_dump(mode="json"),),
        argsrepr="(order)",  # headers and logs shall not have what the order carries
        kwargsrepr="{}",
        ignore_result=True,
    )
    host = str(order.host)
    kept = host in _kept()
    try:
        _put(_producer(host), message)
    except Exception:
        _forget(host)
        if not kept:
            raise
        _put(_producer(host), message)


def _put(producer: Producer, message: Any) -> None:
    producer.publish(
        message.body,
        exchange="",
        routing_key=QUEUE,
        serializer="auth",
        headers=message.headers,
        retry=False,
        **message.properties,
    )


def _kept() -> OrderedDict[str, Producer]:
    """This thread's producers by host, the one used last at the end."""
    found: OrderedDict[str, Producer] | None = getattr(_local, "producers", None)
    if found is None or _local.url != settings.REDIS_URL:
        found = _local.producers = OrderedDict()
        _local.url = settings.REDIS_URL
    return found


def _producer(host: str) -> Producer:
    """A producer on the host's island; making one takes longer than sending, so each thread keeps some."""
    kept = _kept()
    if host not in kept:
        options = {
            "global_keyprefix": keys.prefix(UUID(host)),
            "socket_timeout": TIMEOUT_S,
            "socket_connect_timeout": TIMEOUT_S,
            # Whoever asked for the job is waiting: one try, and the sweep does the rest.
            "max_retries": 1,
            "interval_start": 0,
            "interval_step": 0,
        }
        connection = Connection(broker_url(), transport_options=options)
        kept[host] = Producer(connection, auto_declare=False)
        while len(kept) > KEPT_MAX:
            _forget(next(iter(kept)))
    kept.move_to_end(host)
    return kept[host]


def _forget(host: str) -> None:
    producer = _kept().pop(host, None)
    if producer is not None and producer.connection is not None:
        producer.connection.release()


def register_serializer() -> None:
    """`auth` in kombu's registry: signs with the order key, and trusts it (the portal's own worker reads)."""
    key_path = str(pki.order_key_path())
    with _lock:
        if key_path in _ready:
            return
        signer = SecureSerializer(
            PrivateKey(pki.order_key_path().read_bytes()),
            Certificate(pki.order_certificate_path().read_bytes()),
            _own_certificate(),
            digest="sha256",
        )
        register(
            "auth",
            signer.serialize,  # type: ignore[arg-type]  # bytes, as Celery itself registers it
            signer.deserialize,  # type: ignore[arg-type]
            content_type="application/data",
            content_encoding="utf-8",
        )
        _ready.clear()
        _ready.add(key_path)


def _own_certificate() -> CertStore:
    store = CertStore()
    store.add_cert(Certificate(pki.order_certificate_path().read_bytes()))
    return store


def _fail_unsendable(job: Job, why: str) -> None:
    failure = Failure(
        code="order_impossible",
        what="The order could not be written.",
        why=why[:2000],
        hint="Ask for it anew, with the password if it has one.",
    )
    transition(job, JobState.FAILED, failure=failure)
