"""The private Redis: its configuration and its users.

The portal comes by unix socket with a user of its own and all rights; hosts come by TLS, where Redis asks for a client
certificate of the portal's CA *and* the password of the host's user (tasks.hostlink). The `default` user is off, so
whoever reaches the socket or the port without a password can do nothing.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

PORTAL_USER = "portal"


@dataclass(frozen=True)
class PrivateRedis:
    """Files of a private Redis below `folder`; `pki` holds ca.pem, server.pem, server.key; `tls_port` 0: no port."""

    folder: Path
    pki: Path
    tls_port: int

    @property
    def socket(self) -> Path:
        return self.folder / "redis.sock"

    @property
    def configuration(self) -> Path:
        return self.folder / "redis.conf"

    @property
    def users(self) -> Path:
        return self.folder / "users.acl"

    @property
    def password_file(self) -> Path:
        return self.folder / "portal-password"

    def url(self) -> str:
        """With user and password: for settings.REDIS_URL, never for a log."""
        return f"unix://{PORTAL_USER}:{quote(self.password(), safe='')}@{self.socket}"

    def password(self) -> str:
        """The portal's password, made once (0600)."""
        try:
            return self.password_file.read_text().strip()
        except FileNotFoundError:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_private(self.password_file, secrets.token_urlsafe(32) + "\n")
            return self.password_file.read_text().strip()

    def prepare(self) -> Path:
        """Write configuration and user file, keeping hosts' users that Redis saved there. Returns the configuration."""
        if len(os.fsencode(self.socket)) > 107:
            raise ValueError(
                f"The path of the Redis socket is too long for the kernel (unix(7)): {self.socket}. "
                "Set NSPAWNWEB_VAR to a shorter folder."
            )
        write_private(self.users, self._acl())
        write_private(self.configuration, self._conf())
        return self.configuration

    def _acl(self) -> str:
        digest = hashlib.sha256(self.password().encode()).hexdigest()
        saved = self.users.read_text().splitlines() if self.users.exists() else []
        own = ("user default ", f"user {PORTAL_USER} ")
        hosts = [line for line in saved if line.startswith("user ") and not line.startswith(own)]
        lines = [
            "user default off resetkeys resetchannels -@all",
            f"user {PORTAL_USER} on #{digest} ~* &* +@all",
            *hosts,
        ]
        return "\n".join(lines) + "\n"

    def _conf(self) -> str:
        lines = [
            "port 0",
            f"unixsocket {_word(self.socket)}",
            "unixsocketperm 600",
            f"dir {_word(self.folder)}",
            f"aclfile {_word(self.users)}",
            "daemonize no",
            "supervised no",
            'logfile ""',
            "appendonly yes",
            "appendfsync everysec",
            'save ""',
            "tcp-keepalive 30",
            "maxclients 4096",
            # A host that was captured may not fill memory by one huge command or by never reading its answers.
            "proto-max-bulk-len 16mb",
            "client-query-buffer-limit 32mb",
            "client-output-buffer-limit normal 64mb 32mb 60",
        ]
        if self.tls_port:
            lines += [
                "bind * -::*",
                f"tls-port {self.tls_port}",
                f"tls-cert-file {_word(self.pki / 'server.pem')}",
                f"tls-key-file {_word(self.pki / 'server.key')}",
                f"tls-ca-cert-file {_word(self.pki / 'ca.pem')}",
                "tls-auth-clients yes",
                'tls-protocols "TLSv1.2 TLSv1.3"',
            ]
        return "\n".join(lines) + "\n"


def _word(path: Path) -> str:
    """A path as redis.conf wants it: in double quotes, backslashes and quotes escaped."""
    return '"' + str(path).replace("\\", "\\\\").replace('"', '\\"') + '"'


def write_private(path: Path, text: str) -> None:
    """Atomic, durable, 0600 from the first byte on."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.rename(path)


def main() -> None:
    """`python -m deploy.embedded.redis_server`: for deploy/systemd/nspawnweb-redis.service, by its environment."""
    var = Path(os.environ["NSPAWNWEB_VAR"])
    PrivateRedis(var / "redis", var / "pki", int(os.environ.get("NSPAWNWEB_AGENT_REDIS_PORT", "8444"))).prepare()


if __name__ == "__main__":
    main()
