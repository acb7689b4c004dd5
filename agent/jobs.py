"""The jobs worker: Celery on this host's own queue. One task, no remote control, no events, no mingling.

A message is acknowledged when its job has ended; the job journal makes every redelivery harmless.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from celery import Celery
from celery.worker.consumer import Consumer
from celery.worker.state import maybe_shutdown
from kombu import Queue

from agent import broker, gate, locks, log
from agent.config import Config
from agent.gate import Gate
from agent.runner import run_order
from agent.store import Store
from contract import keys
from contract.orders import QUEUE, TASK_NAME, Order

_log = logging.getLogger(__name__)

CONCURRENCY = 4
_VISIBILITY_S = 3600
"""After this long an order that nobody acknowledged is delivered again."""


class AgentApp(Celery):
    """Celery with a gate."""

    gate: Gate


def make_app(config: Config, store: Store) -> AgentApp:
    """The app with its one task."""
    broker.install()
    app = AgentApp("nspawnweb-agent", broker=config.redis_url(), set_as_current=False, fixups=[])
    app.conf.update(
        broker_use_ssl=config.redis_tls() if config.redis_url().startswith("rediss:") else None,
        broker_transport_options={
            "global_keyprefix": keys.prefix(config.host),
            "visibility_timeout": _VISIBILITY_S,
            "socket_keepalive": True,
            "socket_connect_timeout": 10,
            "health_check_interval": 10,
        },
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        task_queues=[Queue(QUEUE, routing_key=QUEUE)],
        task_default_queue=QUEUE,
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        task_ignore_result=True,
        task_serializer="auth",
        accept_content=["auth"],
        worker_prefetch_multiplier=1,
        worker_concurrency=CONCURRENCY,
        worker_enable_remote_control=False,
        worker_send_task_events=False,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        worker_consumer="agent.jobs:OrderConsumer",
        worker_proc_alive_timeout=30,
        enable_utc=True,
    )
    _only_our_task(app, store)
    app.gate = Gate(config.host, store, gate.serializer(config))
    return app


def _only_our_task(app: Celery, store: Store) -> None:
    """Celery's built-in tasks (chunks, chords, …) go: a signed body must not be led to another task by its headers."""
    app.finalize()
    for name in list(app.tasks):
        app.tasks.unregister(name)

    @app.task(name=TASK_NAME)
    def order(document: dict[str, Any]) -> None:
        asyncio.run(run_order(gate.parse([[document], {}, {}]), store))


class OrderConsumer(Consumer):
    """Celery's consumer with the gate before it."""

    app: AgentApp
    task_consumer: Any

    def create_task_handler(self, *args: Any, **options: Any) -> Any:
        handle = super().create_task_handler(*args, **options)
        guard: Gate = self.app.gate

        def on_message(message: Any) -> None:
            order = guard.admit(message)
            if order is None or self._is_under_way(guard.store, order):
                message.ack()
            else:
                handle(message)

        return on_message

    def _is_under_way(self, store: Store, order: Order) -> bool:
        """A second copy of an order that a process works on now: that one reports its end."""
        return store.is_running(order.job) and locks.is_held(locks.job(str(order.job)))

    def ensure_connected(self, conn: Any) -> Any:
        """Try for ever, every 5 s at the latest, so that a Redis which is back is used soon."""

        def tell(error: Exception, interval: float) -> None:
            _log.warning("Redis is not there: %s; trying again in %.1f s", error, interval)

        return conn.ensure_connection(
            tell, None, interval_start=0.5, interval_step=0.5, interval_max=5.0, callback=maybe_shutdown
        )

    def on_ready(self) -> None:
        """Take back what earlier connections got and did not finish: this host's queue has no other consumer."""
        super().on_ready()
        channel = self.task_consumer.channel
        with channel.conn_or_acquire() as client:
            for tag in client.zrange(channel.unacked_index_key, 0, -1):
                if tag not in channel.qos._delivered:
                    channel.qos.restore_by_tag(tag, client)


def work(config: Config) -> None:
    """Run the worker until SIGTERM; running jobs end first."""
    log.setup()
    store = Store()
    app = make_app(config, store)
    worker = app.Worker(
        hostname=f"jobs@{config.host}",
        without_gossip=True,
        without_mingle=True,
        without_heartbeat=True,
        pool="prefork",
        loglevel=logging.INFO,
    )
    _log.info("worker for host %s begins", config.host)
    worker.start()
