"""A captured host harms no other; a captured Redis makes no host run anything."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime, timedelta

import pytest

from tests.stack import Stack, wait_for

pytestmark = pytest.mark.e2e

PROBE = """
import asyncio, json, sys
from agent.config import Config
import redis

async def main(other):
    config = Config.load()
    client = config.redis_async()
    found = {}
    async def attempt(label, *command):
        try:
            await client.execute_command(*command)
            found[label] = "allowed"
        except redis.exceptions.NoPermissionError:
            found[label] = "refused"
    own = f"h:{config.host}:"
    await attempt("own", "XLEN", own + "events")
    await attempt("events", "XLEN", f"h:{other}:events")
    await attempt("queue", "LPUSH", f"h:{other}:jobs", "x")
    await attempt("live", "XADD", f"h:{other}:live:in", "*", "d", "x")
    await attempt("portal", "GET", "portal:anything")
    await attempt("script", "EVAL", "return redis.call('GET', KEYS[1])", "1", f"h:{other}:x")
    await attempt("keys", "KEYS", "*")
    await attempt("flush", "FLUSHALL")
    await attempt("config", "CONFIG", "GET", "*")
    await attempt("acl", "ACL", "LIST")
    await attempt("channel", "PUBLISH", f"h:{other}:/0.celery.pidbox", "x")
    print(json.dumps(found))

asyncio.run(main(sys.argv[1]))
"""


def ids(stack: Stack) -> dict[str, str]:
    return {host["name"]: host["id"] for host in stack.api.get("/hosts")["items"]}


def test_a_captured_hosts_credentials_reach_no_other_hosts_keys(stack: Stack) -> None:
    other = ids(stack)["lab2"]
    printed = stack.hosts["lab1"].run(["/opt/nspawnweb-agent/current/bin/python", "-c", PROBE, other]).stdout
    found = json.loads(printed)
    assert found.pop("own") == "allowed"
    assert set(found.values()) == {"refused"}, found


def refused_rows(stack: Stack) -> int:
    counted = stack.dev(
        "manage", "shell", "-v", "0", "-c",
        "from audit.models import AuditEvent; print(AuditEvent.objects.filter(action__contains='refused').count())",
    )  # fmt: skip
    return int(counted.split()[-1])


def inject(stack: Stack, code: str) -> None:
    """Run `code` as one who holds Redis: `r` is a client with all rights, `h` the host's id."""
    head = (
        "import json, uuid, redis; from django.conf import settings;"
        f"r = redis.Redis.from_url(settings.REDIS_URL); h = '{ids(stack)['lab1']}'\n"
    )
    stack.dev("manage", "shell", "-v", "0", "-c", head + code)


def test_an_unsigned_order_is_refused_and_reported(stack: Stack) -> None:
    before = refused_rows(stack)
    now = datetime.now(UTC)
    order = {
        "protocol": 1, "job": str(uuid.uuid4()), "host": ids(stack)["lab1"], "issued": now.isoformat(),
        "expires": (now + timedelta(hours=1)).isoformat(),
        "params": {"kind": "host.inventory"},
    }  # fmt: skip
    inject(
        stack,
        f"""
from kombu import Connection
from celery import Celery
app = Celery(broker=settings.REDIS_URL if '://' in settings.REDIS_URL else '')
from tasks import dispatch
import celery, base64
body = base64.b64encode(json.dumps([[{order!r}], {{}}, {{}}]).encode()).decode()
message = {{"body": body, "content-encoding": "utf-8", "content-type": "application/json",
  "headers": {{"lang": "py", "task": "nspawnweb.order", "id": str(uuid.uuid4()), "argsrepr": "", "kwargsrepr": ""}},
  "properties": {{"correlation_id": "x", "delivery_mode": 2, "delivery_tag": str(uuid.uuid4()), "priority": 0,
  "body_encoding": "base64", "delivery_info": {{"exchange": "", "routing_key": "jobs"}}}}}}
r.lpush(f"h:{{h}}:jobs", json.dumps(message))
""",
    )
    wait_for("the refusal to be reported", lambda: refused_rows(stack) > before, timeout=20, every=0.5)


def test_an_unsigned_live_request_is_refused_and_reported(stack: Stack) -> None:
    before = refused_rows(stack)
    inject(
        stack,
        """
payload = json.dumps({"protocol": 1, "id": str(uuid.uuid4()), "host": h, "expires": "2999-01-01T00:00:00Z",
  "request": {"kind": "terminal.open", "session": str(uuid.uuid4()), "name": "life"}})
r.xadd(f"h:{h}:live:in", {"d": json.dumps({"payload": payload, "signature": "AAAA"})})
""",
    )
    wait_for("the refusal to be reported", lambda: refused_rows(stack) > before, timeout=20, every=0.5)
