"""What `./dev up` was asked for, where its files are, and the environment that follows from both."""

from __future__ import annotations

import json
import os
import socket
from dataclasses import asdict, dataclass
from pathlib import Path

from deploy.embedded.redis_server import PrivateRedis, write_private

ROOT = Path(__file__).resolve().parent.parent.parent
PYTHON = ROOT / ".venv" / "bin" / "python"
AGENT_OFFSET, REDIS_OFFSET = 443, 444
LAB_GATEWAY = "lab-gateway"
"""The name that a lab host has for this machine (docs/lab.md)."""


def var_folder() -> Path:
    """The state folder: NSPAWNWEB_VAR, else var/ beside the code."""
    return Path(os.environ.get("NSPAWNWEB_VAR") or ROOT / "var").resolve()


@dataclass(frozen=True)
class Layout:
    """Files of the embedded portal below `var`."""

    var: Path

    @property
    def run(self) -> Path:
        return self.var / "run"

    @property
    def lock(self) -> Path:
        """Held by whoever starts or supervises."""
        return self.run / "up.lock"

    @property
    def plan(self) -> Path:
        """What the supervisor is told to run."""
        return self.run / "plan.json"

    @property
    def status(self) -> Path:
        """What the supervisor says of itself and its children."""
        return self.run / "status.json"

    @property
    def options(self) -> Path:
        """How the portal was started last; `./dev manage` runs in the same environment."""
        return self.run / "options.json"

    @property
    def log(self) -> Path:
        return self.var / "log"

    @property
    def admin_password(self) -> Path:
        return self.var / "admin-password"

    @property
    def hosts(self) -> Path:
        """The hosts that `./dev up` brought in."""
        return self.var / "hosts.json"

    def redis(self, tls_port: int) -> PrivateRedis:
        return PrivateRedis(self.var / "redis", self.var / "pki", tls_port)


@dataclass(frozen=True)
class Options:
    """`port` serves browsers, `port`+443 hosts, `port`+444 is Redis for hosts."""

    port: int = 8000
    listen: str = "127.0.0.1"

    @property
    def agent_port(self) -> int:
        return self.port + AGENT_OFFSET

    @property
    def redis_port(self) -> int:
        return self.port + REDIS_OFFSET

    @property
    def url(self) -> str:
        """Where a browser on this machine finds the portal."""
        host = "127.0.0.1" if self.listen in {"0.0.0.0", "::", ""} else self.listen  # noqa: S104 - a comparison
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"

    def environment(self, var: Path) -> dict[str, str]:
        """Settings of every process; what the caller's environment says goes before them."""
        names = {"localhost", "127.0.0.1", socket.gethostname()}
        origins = sorted({self.url, *(f"http://{name}:{self.port}" for name in names)})
        made = {
            "NSPAWNWEB_VAR": str(var),
            "NSPAWNWEB_PUBLIC_URL": self.url,
            "NSPAWNWEB_TRUSTED_ORIGINS": ",".join(origins),
            "NSPAWNWEB_AGENT_PORT": str(self.agent_port),
            "NSPAWNWEB_AGENT_REDIS_PORT": str(self.redis_port),
            "NSPAWNWEB_AGENT_NAMES": LAB_GATEWAY,
            "DJANGO_SETTINGS_MODULE": "nspawnweb.settings",
            "PYTHONPATH": str(ROOT),
        }
        return {
            key: os.environ.get(key, value) if key.startswith("NSPAWNWEB_") else value for key, value in made.items()
        }

    def save(self, layout: Layout) -> None:
        layout.run.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_private(layout.options, json.dumps(asdict(self)) + "\n")


def saved(layout: Layout) -> Options:
    """The options of the last `up`, or the defaults."""
    try:
        return Options(**json.loads(layout.options.read_text()))
    except FileNotFoundError:
        return Options()
