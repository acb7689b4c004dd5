"""Hosts' users in Redis: one a host, confined to the host's own keys and to the commands that an agent uses.

The rights are a list of what is allowed, found by running Celery's worker and the live service under it
(test_hostlink), so a new Redis command is out until somebody needs it. Left out on purpose, though each looks harmless:
SCAN, RANDOMKEY and DBSIZE (they tell of other hosts' keys whatever the key rules say), EVAL and SCRIPT (an endless Lua
loop stops Redis for everyone; the agent does without, see agent/broker.py), PUBLISH and SUBSCRIBE (no remote control).
"""

from __future__ import annotations

import hashlib
import secrets
from uuid import UUID

import redis
from django.conf import settings
from django.db import transaction

from contract import keys
from tasks import pki
from tasks.models import HostLink
from teams.errors import Unavailable

USER_PREFIX = "host-"
_CONNECTION = "hello auth reset quit ping select client|setname client|id time"
_QUEUE = (
    "brpop lpush rpush llen sadd srem smembers zadd zrange zrem hset hget hdel hlen multi exec discard watch unwatch"
)
_STREAMS = "xadd xread xrange xrevrange xtrim xlen xdel"
_LEASES = "get set exists del unlink expire pexpire ttl pttl type"
COMMANDS = tuple(f"+{name}" for name in f"{_CONNECTION} {_QUEUE} {_STREAMS} {_LEASES}".split())


def user_name(host_id: UUID) -> str:
    """The host's name in Redis."""
    return f"{USER_PREFIX}{host_id}"


def grant(host_id: UUID) -> tuple[str, str]:
    """Make the host's user, or give the one it has a new password; what was connected with the old one is cut off.

    Returns user and password (256 random bits); the password is kept nowhere. Call it inside the transaction that
    enrols the host. Raises Unavailable if Redis does not answer.
    """
    password = secrets.token_urlsafe(32)
    digest = hashlib.sha256(password.encode()).hexdigest()
    with transaction.atomic():
        HostLink.objects.update_or_create(host_id=host_id, defaults={"password_sha256": digest})
        with _admin() as client:
            _set_user(client, host_id, digest)
            _cut(client, user_name(host_id))
            _save(client)
    return user_name(host_id), password


def revoke(host_id: UUID) -> None:
    """Remove the host's user, end its connections, drop its keys. Idempotent. Raises Unavailable without Redis."""
    with transaction.atomic():
        HostLink.objects.filter(host_id=host_id).delete()
        with _admin() as client:
            client.acl_deluser(user_name(host_id))
            _save(client)
            _drop_keys(client, host_id)


def sync() -> list[str]:
    """Make Redis's users equal to what the database says; names of users made, mended or removed.

    For the portal's start, and for a Redis that was emptied or replaced: hosts get in with the passwords they have.
    """
    wanted = {user_name(link.host_id): link for link in HostLink.objects.all()}
    changed: list[str] = []
    with _admin() as client:
        before = _users(client)
        for name in before.keys() - wanted.keys():
            client.acl_deluser(name)
            changed.append(name)
        for link in wanted.values():
            _set_user(client, link.host_id, link.password_sha256)
        after = _users(client)
        changed += [name for name in wanted if before.get(name) != after.get(name)]
        if changed:
            _save(client)
    return sorted(changed)


def reload_certificate() -> bool:
    """Have Redis read its server certificate again; False if it serves another file than ours, or no TLS at all.

    Setting the same path anew reads the file (Redis flags it as volatile configuration).
    """
    path = str(pki.server_certificate_path())
    with _admin() as client:
        if client.config_get("tls-cert-file").get("tls-cert-file") != path:
            return False
        client.config_set("tls-cert-file", path)
    return True


class _Admin:
    """The portal's client; whatever Redis itself cannot do becomes Unavailable, fit for a person."""

    def __enter__(self) -> redis.Redis:
        self._client = redis.Redis.from_url(settings.REDIS_URL, decode_responses=True, socket_timeout=10)
        return self._client

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        self._client.close()
        if isinstance(error, redis.RedisError):
            raise Unavailable(
                "redis_unavailable",
                "Hosts' access to Redis could not be changed.",
                why=str(error) or type(error).__name__,
                hint="See that Redis runs (`./dev status`) and that NSPAWNWEB_REDIS_URL names a user with all rights.",
            ) from error


_admin = _Admin


def _set_user(client: redis.Redis, host_id: UUID, digest: str) -> None:
    """ACL SETUSER from nothing (`reset`), so that a user never keeps rights of an older version of this list."""
    rules = ["reset", "on", f"#{digest}", f"~{keys.prefix(host_id)}*", "resetchannels", "-@all", *COMMANDS]
    major, minor = str(client.info("server")["redis_version"]).split(".")[:2]
    if (int(major), int(minor)) >= (7, 2):
        rules.append("+client|setinfo")  # redis-py sends it at every connect; older ones do not know the word
    client.execute_command("ACL SETUSER", user_name(host_id), *rules)  # type: ignore[no-untyped-call]


def _users(client: redis.Redis) -> dict[str, str]:
    """Hosts' users with their rules, as ACL LIST tells them."""
    rows = (str(row).split(" ", 2) for row in client.acl_list())
    return {row[1]: row[2] for row in rows if row[1].startswith(USER_PREFIX)}


def _cut(client: redis.Redis, name: str) -> None:
    """End the user's connections. SKIPME is harmless: it is never the portal itself."""
    client.execute_command("CLIENT KILL", "USER", name)  # type: ignore[no-untyped-call]


def _save(client: redis.Redis) -> None:
    """Write users to the ACL file; a Redis without one keeps them in memory, and `sync` restores them at each start."""
    try:
        client.acl_save()
    except redis.ResponseError as error:
        if "aclfile" not in str(error).lower() and "ACL file" not in str(error):
            raise


def _drop_keys(client: redis.Redis, host_id: UUID) -> None:
    for key in client.scan_iter(match=f"{keys.prefix(host_id)}*", count=500):
        client.unlink(key)
