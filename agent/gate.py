"""Judge a message before anything else looks at it: only what the portal signed, for this host, in time, gets through.

Celery's `auth` serializer signs the body alone. Headers are anybody's who holds Redis; the gate reads the task name
from them to refuse strangers, and takes away those that could hold a job up.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from celery.exceptions import SecurityError
from celery.security.certificate import FSCertStore
from celery.security.serialization import SecureSerializer
from kombu.serialization import registry  # type: ignore[attr-defined]
from kombu.utils.encoding import ensure_bytes
from pydantic import ValidationError

from agent.config import Config
from agent.store import Store
from contract import PROTOCOL
from contract.events import Refused
from contract.orders import SECRET_FIELDS, TASK_NAME, Order

_log = logging.getLogger(__name__)

CONTENT_TYPE = "application/data"
BODY_MAX = 1024 * 1024
"""Largest message body in bytes; an order has a few kilobytes."""
_CLOCK_S = 300
"""How far ahead of ours the portal's clock may be."""


class Refusal(Exception):
    """The message is not obeyed. `order` is set where the signature was good."""

    def __init__(self, code: str, why: str, order: Order | None = None) -> None:
        super().__init__(why)
        self.code = code
        self.why = why
        self.order = order


class OrderSerializer(SecureSerializer):
    """Verifies with the pinned certificate; takes JSON alone, whatever the unsigned envelope says."""

    def _unpack(self, payload: Any, sep: bytes = b"\x00\x01") -> dict[str, Any]:
        fields: dict[str, Any] = super()._unpack(payload, sep)  # type: ignore[misc]
        fields["content_type"], fields["content_encoding"] = "application/json", "utf-8"
        return fields


def serializer(config: Config) -> OrderSerializer:
    """Register the serializer under Celery's name for it; it can verify, not sign."""
    made = OrderSerializer(cert_store=FSCertStore(str(config.order_certificate)))
    registry.register("auth", made.serialize, made.deserialize, content_type=CONTENT_TYPE, content_encoding="utf-8")
    return made


@dataclass
class Gate:
    """One a worker."""

    host: UUID
    store: Store
    verifier: OrderSerializer
    _reports: list[float] = field(default_factory=list)

    def admit(self, message: Any) -> Order | None:
        """The order of a kombu message, or None after the refusal was logged and reported."""
        try:
            order = self.judge(message)
        except Refusal as refusal:
            self._report(refusal)
            return None
        message.headers.update(task=TASK_NAME, eta=None, expires=None, timelimit=[None, None], retries=0)
        return order

    def judge(self, message: Any) -> Order:
        """Raises Refusal."""
        headers = message.headers if isinstance(message.headers, dict) else {}
        if message.content_type != CONTENT_TYPE or headers.get("compression"):
            raise Refusal("unsigned", f"A message of type {str(message.content_type)[:60]} bears no signature.")
        body = ensure_bytes(message.body)
        if len(body) > BODY_MAX:
            raise Refusal("malformed", f"A message of {len(body)} bytes is no order.")
        try:
            content = self.verifier.deserialize(body)
        except SecurityError as error:
            raise Refusal("unsigned", f"The portal's signature is missing or wrong: {str(error)[:300]}") from error
        if headers.get("task") != TASK_NAME:
            raise Refusal("unknown_task", f"There is no task {str(headers.get('task'))[:60]!r} here.")
        order = parse(content)
        self._check(order)
        return order

    def _check(self, order: Order) -> None:
        if order.host != self.host:
            raise Refusal("foreign", f"Order {order.job} is for host {order.host}, not for this one.")
        now = datetime.now(UTC)
        if order.expires <= now and not self.store.knows(order.job):
            raise Refusal("expired", f"Order {order.job} expired at {order.expires:%Y-%m-%d %H:%M:%S} UTC.", order)
        if (order.issued - now).total_seconds() > _CLOCK_S:
            raise Refusal("from_the_future", f"Order {order.job} is from the future: the clocks differ.", order)

    def _report(self, refusal: Refusal) -> None:
        """Log all; report at most 30 a minute, so that a flood does not fill the disk."""
        _log.warning("refused (%s): %s", refusal.code, refusal.why)
        now = time.monotonic()
        self._reports = [at for at in self._reports if now - at < 60] + [now]
        if len(self._reports) <= 30:
            self.store.refuse(Refused(code=refusal.code, why=refusal.why), refusal.order)


def parse(content: Any) -> Order:
    """The order in the signed body [args, kwargs, embed] of Celery's message protocol 2. Raises Refusal."""
    try:
        (document,), kwargs, embed = content
    except (TypeError, ValueError):
        raise Refusal("malformed", "A signed message does not hold one order.") from None
    if kwargs or any((embed or {}).values()):
        raise Refusal("malformed", "A signed message holds more than one order.")
    if isinstance(document, dict) and document.get("protocol") != PROTOCOL:
        why = f"The portal speaks protocol {str(document.get('protocol'))[:20]}, this agent {PROTOCOL}."
        raise Refusal("protocol", f"{why} Upgrade the older one.")
    try:
        return Order.model_validate(document)
    except ValidationError as error:
        raise Refusal("malformed", _problems(error)) from None


def _problems(error: ValidationError) -> str:
    """Which fields are wrong and why, without the value of any secret."""
    rows = []
    for problem in error.errors(include_url=False, include_input=False, include_context=False):
        place = ".".join(str(part) for part in problem["loc"])
        secret = SECRET_FIELDS & {str(part) for part in problem["loc"]}
        rows.append(f"{place}: {'is not valid' if secret else problem['msg']}")
    return "The order is malformed. " + "; ".join(rows)[:1500]
