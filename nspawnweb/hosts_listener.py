"""`python -m nspawnweb.hosts_listener`: HTTPS for hosts, with the portal's own certificate.

The certificate is looked after here (tasks.pki): when this machine gets another address, or the end is near, it is
issued anew with the same key, and new connections see it at once.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import ssl

import django
import structlog
import uvicorn

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "nspawnweb.settings")
django.setup()

from tasks import hostlink, pki  # noqa: E402 - needs Django's apps
from teams.errors import Unavailable  # noqa: E402

log = structlog.get_logger(__name__)
LOOK_EVERY_S = 2.0


def main() -> None:
    """Serve until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(prog="python -m nspawnweb.hosts_listener", description=__doc__)
    parser.add_argument("--host", default="", help="address to listen on; empty: all")
    parser.add_argument("--port", type=int, default=8443)
    arguments = parser.parse_args()
    asyncio.run(_serve(arguments.host or None, arguments.port))


async def _serve(host: str | None, port: int) -> None:
    pki.refresh_server_certificate()
    config = uvicorn.Config(
        "nspawnweb.hosts_asgi:application",
        host=host,  # type: ignore[arg-type]  # None: asyncio listens on every address of both families
        port=port,
        ssl_certfile=pki.server_certificate_path(),
        ssl_keyfile=str(pki.server_key_path()),
        lifespan="off",
        proxy_headers=False,
        server_header=False,
        log_config=None,
        timeout_graceful_shutdown=10,
        limit_concurrency=200,
    )
    config.load()
    assert config.ssl is not None  # noqa: S101 - load() made it of the two files above
    config.ssl.minimum_version = ssl.TLSVersion.TLSv1_2
    watch = asyncio.create_task(_follow(config.ssl))
    try:
        await uvicorn.Server(config).serve()
    finally:
        watch.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watch


async def _follow(context: ssl.SSLContext) -> None:
    """Load the certificate again whenever its file changed, whoever issued it."""
    path = pki.server_certificate_path()
    loaded = path.stat().st_mtime_ns
    while True:
        await asyncio.sleep(LOOK_EVERY_S)
        await asyncio.to_thread(pki.refresh_server_certificate)
        if (now := path.stat().st_mtime_ns) != loaded:
            context.load_cert_chain(path, pki.server_key_path())
            loaded = now
            log.info("certificate_reloaded", redis=await asyncio.to_thread(_reload_redis))


def _reload_redis() -> str:
    """Redis serves the same certificate. One that is down reads it when it starts."""
    try:
        return "reloaded" if hostlink.reload_certificate() else "not ours"
    except Unavailable as error:
        return error.why


if __name__ == "__main__":
    main()
