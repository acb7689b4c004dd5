"""What enrolment left on this host: who we are, where the portal is, whom we trust."""

from __future__ import annotations

import dataclasses
import json
import os
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import UUID

import redis.asyncio

from agent import paths
from agent.errors import ConfigError

FILE = "config.json"
_KEYS = ("host", "name", "portal_url", "redis_host", "redis_port", "redis_user", "redis_password")


@dataclass(frozen=True, kw_only=True)
class Config:
    """Read-only configuration. Paths are of PEM files beside config.json.

    `ca` verifies the portal's HTTPS and its Redis; `certificate` and `key` are the agent's own;
    `order_certificate` verifies Celery messages; `live_key` verifies live requests (Ed25519).
    """

    host: UUID
    name: str
    portal_url: str
    redis_host: str
    redis_port: int
    redis_user: str
    redis_password: str = dataclasses.field(repr=False)
    directory: Path

    @property
    def ca(self) -> Path:
        return self.directory / "ca.pem"

    @property
    def certificate(self) -> Path:
        return self.directory / "agent.pem"

    @property
    def key(self) -> Path:
        return self.directory / "agent.key"

    @property
    def order_certificate(self) -> Path:
        return self.directory / "orders.pem"

    @property
    def live_key(self) -> Path:
        return self.directory / "live.pub"

    @classmethod
    def load(cls, directory: Path | None = None) -> Config:
        """Read it. Raises ConfigError if the host is not enrolled or a value is missing or wrong."""
        directory = directory or paths.etc_dir()
        file = directory / FILE
        try:
            raw = json.loads(file.read_text())
            values = {key: raw[key] for key in _KEYS}
            values["host"] = UUID(values["host"])
            values["redis_port"] = int(values["redis_port"])
        except FileNotFoundError:
            raise ConfigError("This host is not enrolled.", why=f"{file} does not exist.") from None
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ConfigError("The agent's configuration cannot be read.", why=f"{file}: {error!r}") from error
        return cls(directory=directory, **values)

    def as_json(self) -> str:
        """The text of config.json."""
        raw: dict[str, Any] = {key: getattr(self, key) for key in _KEYS}
        raw["host"] = str(self.host)
        return json.dumps(raw, indent=2) + "\n"

    def redis_url(self) -> str:
        """URL with user and password, for Celery: never log it."""
        user, password = quote(self.redis_user, safe=""), quote(self.redis_password, safe="")
        host = f"[{self.redis_host}]" if ":" in self.redis_host else self.redis_host
        return f"rediss://{user}:{password}@{host}:{self.redis_port}/0"

    def redis_tls(self) -> dict[str, Any]:
        """Mutual TLS, as redis-py and Celery's `broker_use_ssl` take it."""
        return {
            "ssl_cert_reqs": ssl.CERT_REQUIRED,
            "ssl_ca_certs": str(self.ca),
            "ssl_certfile": str(self.certificate),
            "ssl_keyfile": str(self.key),
            "ssl_check_hostname": True,
        }

    def redis_async(self, **options: Any) -> redis.asyncio.Redis:
        """A client for the live service: mutual TLS, keepalive, health check every 10 s."""
        options = {"health_check_interval": 10, "socket_keepalive": True, "socket_connect_timeout": 10} | options
        return redis.asyncio.Redis(
            host=self.redis_host,
            port=self.redis_port,
            username=self.redis_user,
            password=self.redis_password,
            ssl=True,
            **self.redis_tls(),
            **options,
        )


def write_private(file: Path, text: str, *, mode: int = 0o600) -> None:
    """Write atomically and durably; never, not even for a moment, readable by others."""
    temporary = file.with_name(f".{file.name}.{os.getpid()}.new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, mode)
    try:
        with os.fdopen(descriptor, "w") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.rename(file)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
