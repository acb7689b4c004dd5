"""The parts of the embedded portal, in the order in which they start: what others need first, pages last."""

from __future__ import annotations

import os
from pathlib import Path

from deploy.embedded.options import PYTHON, Layout, Options
from deploy.embedded.supervisor import Part


def parts(options: Options, layout: Layout) -> list[Part]:
    """Redis only when no other is named by NSPAWNWEB_REDIS_URL."""
    environment = options.environment(layout.var)
    python = str(PYTHON)

    def part(name: str, *argv: str, ready: str = "", stop_s: float = 15.0) -> Part:
        return Part(name, [python, *argv], environment, ready, stop_s=stop_s)

    address = options.url.removeprefix("http://").replace("[", "").replace("]", "")
    web = ["-m", "uvicorn", "nspawnweb.asgi:application", "--host", options.listen, "--port", str(options.port)]
    web += ["--no-server-header", "--no-access-log", "--timeout-graceful-shutdown", "5", "--ws-max-size", "1048576"]
    celery = ["-m", "celery", "-A", "nspawnweb", "worker", "--beat", "--without-gossip", "--without-mingle"]
    found = [
        part("hosts", "-m", "nspawnweb.hosts_listener", "--port", str(options.agent_port)),
        part("relay", str(Path(__file__).resolve().parents[2] / "manage.py"), "relay"),
        part("worker", *celery, "--without-heartbeat", "--loglevel", "WARNING", "--hostname", "portal@%h"),
        part("web", *web, "--lifespan", "off", ready=f"tcp:{address}"),
    ]
    if not os.environ.get("NSPAWNWEB_REDIS_URL"):
        redis = layout.redis(options.redis_port)
        found.insert(0, Part("redis", ["redis-server", str(redis.configuration)], {}, f"unix:{redis.socket}"))
    return found
