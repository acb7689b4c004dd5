"""A host's Redis user can do what an agent does, with its own keys, and nothing else. Against a real Redis over TLS."""

from __future__ import annotations

import socket
import ssl
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from kombu import Connection
from redis.backoff import NoBackoff
from redis.retry import Retry

from contract import keys
from contract.orders import QUEUE
from deploy.embedded.redis_server import PrivateRedis
from tasks import hostlink, pki
from teams.errors import Unavailable

pytestmark = pytest.mark.django_db
A, B = uuid.uuid4(), uuid.uuid4()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def client_certificate(folder: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a")])
    csr = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    pem = pki.issue_host_certificate(csr.public_bytes(serialization.Encoding.PEM).decode(), A)
    (folder / "agent.pem").write_text(pem)
    (folder / "agent.key").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )


class Server:
    """A private Redis as the portal runs it."""

    def __init__(self, folder: Path, pki_folder: Path) -> None:
        self.private = PrivateRedis(folder / "redis", pki_folder, free_port())
        self.tls = {
            "ssl": True,
            "ssl_ca_certs": str(pki_folder / "ca.pem"),
            "ssl_certfile": str(folder / "agent.pem"),
            "ssl_keyfile": str(folder / "agent.key"),
            "ssl_check_hostname": True,
        }

    def start(self) -> None:
        self.process = subprocess.Popen(["redis-server", str(self.private.prepare())], stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 20
        while True:
            try:
                with redis.Redis.from_url(self.private.url()) as client:
                    client.ping()
                return
            except redis.RedisError:
                assert time.monotonic() < deadline, "Redis did not start"
                time.sleep(0.02)

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(20)

    def as_host(self, user: str, password: str, **options) -> redis.Redis:
        return redis.Redis(
            host="127.0.0.1",
            port=self.private.tls_port,
            username=user,
            password=password,
            retry=Retry(NoBackoff(), 0),
            **(self.tls | options),
        )


@pytest.fixture
def server(tmp_path: Path, settings) -> Iterator[Server]:
    pki.ensure()
    client_certificate(tmp_path)
    one = Server(tmp_path, settings.PKI_DIR)
    settings.REDIS_URL = one.private.url()
    one.start()
    yield one
    one.stop()


@pytest.fixture
def portal(server: Server) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(server.private.url()) as client:
        client.set("portal:secret", "x")
        client.set(f"{keys.prefix(B)}k", "x")
        client.xadd(keys.events(B), {"d": "x"})
        client.sadd(f"{keys.prefix(B)}s", "x")
        yield client


@pytest.fixture
def host(server: Server, portal: redis.Redis) -> Iterator[redis.Redis]:
    hostlink.grant(B)
    with server.as_host(*hostlink.grant(A)) as client:
        yield client


def test_a_host_uses_its_own_keys(host: redis.Redis) -> None:
    host.set(f"{keys.prefix(A)}k", "1", ex=60)
    host.xadd(keys.events(A), {"d": "1"}, maxlen=10)
    assert host.xread({keys.events(A): "0"})
    assert host.exists(f"{keys.prefix(A)}k") == 1


OTHER = keys.prefix(B)
MINE = keys.prefix(A)


FORBIDDEN = [
    ["GET", f"{OTHER}k"],
    ["GET", "portal:secret"],
    ["SET", f"{OTHER}k", "1"],
    ["SET", "portal:x", "1"],
    ["EXISTS", f"{OTHER}k"],
    ["TYPE", f"{OTHER}k"],
    ["DEL", f"{MINE}k", f"{OTHER}k"],
    ["XADD", f"{OTHER}events", "*", "d", "1"],
    ["XREAD", "STREAMS", f"{MINE}events", f"{OTHER}events", "0", "0"],
    ["XREAD", "STREAMS", "portal:events", "0"],
    ["XRANGE", f"{OTHER}events", "-", "+"],
    ["XTRIM", f"{OTHER}events", "MAXLEN", "0"],
    ["BRPOP", f"{OTHER}jobs", "1"],
    ["LPUSH", f"{OTHER}jobs", "1"],
    ["SMEMBERS", f"{OTHER}s"],
    ["KEYS", "*"],
    ["SCAN", "0"],
    ["RANDOMKEY"],
    ["DBSIZE"],
    ["INFO"],
    ["FLUSHALL"],
    ["FLUSHDB"],
    ["SWAPDB", "0", "1"],
    ["MOVE", f"{MINE}k", "1"],
    ["COPY", f"{OTHER}k", f"{MINE}k"],
    ["RENAME", f"{OTHER}k", f"{MINE}k"],
    ["DUMP", f"{OTHER}k"],
    ["SORT", f"{MINE}k", "BY", "nosort", "GET", f"{OTHER}k"],
    ["CONFIG", "GET", "*"],
    ["CONFIG", "SET", "maxclients", "1"],
    ["DEBUG", "SLEEP", "1"],
    ["ACL", "LIST"],
    ["ACL", "WHOAMI"],
    ["ACL", "SETUSER", "default", "on"],
    ["CLIENT", "LIST"],
    ["CLIENT", "KILL", "TYPE", "normal"],
    ["CLIENT", "PAUSE", "1000"],
    ["CLIENT", "TRACKING", "ON", "BCAST"],
    ["MONITOR"],
    ["SLOWLOG", "GET"],
    ["MEMORY", "STATS"],
    ["LATENCY", "DOCTOR"],
    ["SAVE"],
    ["BGREWRITEAOF"],
    ["SHUTDOWN"],
    ["REPLICAOF", "203.0.113.1", "6379"],
    ["PSYNC", "?", "-1"],
    ["MODULE", "LIST"],
    ["CLUSTER", "INFO"],
    ["FUNCTION", "LOAD", "#!lua name=x"],
    ["EVAL", "return redis.call('GET', KEYS[1])", "1", f"{OTHER}k"],
    ["EVAL", "while true do end", "0"],
    ["EVAL_RO", "return 1", "0"],
    ["EVALSHA", "e0e1f9fabfc9d4800c877a703b823ac0578ff8db", "0"],
    ["SCRIPT", "LOAD", "return 1"],
    ["SCRIPT", "FLUSH"],
    ["SCRIPT", "KILL"],
    ["PUBLISH", f"{OTHER}x", "1"],
    ["PUBLISH", "portal:channels", "1"],
    ["SUBSCRIBE", f"{OTHER}x"],
    ["PSUBSCRIBE", "*"],
    ["PUBSUB", "CHANNELS"],
    ["OBJECT", "FREQ", f"{OTHER}k"],
    ["WAIT", "1", "0"],
    ["FAILOVER"],
]


def test_a_captured_host_reaches_nothing_else(host: redis.Redis) -> None:
    taken = []
    for command in FORBIDDEN:
        try:
            host.execute_command(*command)
        except redis.exceptions.NoPermissionError:
            continue
        except redis.RedisError as error:
            if command[0] == "DEBUG" and "not allowed" in str(error):
                continue  # forbidden to everyone, before rights are looked at
            taken.append((command, str(error)))
        else:
            taken.append((command, "allowed"))
    assert taken == []


def test_a_host_without_client_certificate_is_not_even_heard(server: Server, host: redis.Redis) -> None:
    user, password = hostlink.grant(A)
    with server.as_host(user, password, ssl_certfile=None, ssl_keyfile=None) as client, pytest.raises(redis.RedisError):
        client.ping()


def test_the_certificate_alone_is_not_enough(server: Server, portal: redis.Redis) -> None:
    context = ssl.create_default_context(cafile=server.tls["ssl_ca_certs"])
    context.load_cert_chain(server.tls["ssl_certfile"], server.tls["ssl_keyfile"])
    with (
        socket.create_connection(("127.0.0.1", server.private.tls_port), 10) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1") as tls,
    ):
        tls.sendall(b"GET portal:secret\r\n")
        assert b"NOAUTH" in tls.recv(200)


def test_the_unix_socket_wants_a_password_too(server: Server, portal: redis.Redis) -> None:
    with redis.Redis(unix_socket_path=str(server.private.socket)) as client, pytest.raises(redis.AuthenticationError):
        client.get("portal:secret")


def test_a_new_grant_ends_the_old_password_and_its_connections(server: Server, portal: redis.Redis) -> None:
    old = hostlink.grant(A)
    with server.as_host(*old) as client:
        client.ping()
        new = hostlink.grant(A)
        with pytest.raises(redis.RedisError):
            client.ping()
    with server.as_host(*new) as client:
        assert client.ping()


def test_revoking_ends_connections_and_drops_the_hosts_keys(
    server: Server, host: redis.Redis, portal: redis.Redis
) -> None:
    host.xadd(keys.events(A), {"d": "1"})
    hostlink.revoke(A)
    hostlink.revoke(A)
    with pytest.raises(redis.RedisError):
        host.ping()
    assert not list(portal.scan_iter(match=f"{MINE}*"))
    assert portal.exists(f"{OTHER}k")


def test_users_outlive_a_restart_of_redis(server: Server, portal: redis.Redis) -> None:
    granted = hostlink.grant(A)
    server.stop()
    server.start()
    with server.as_host(*granted) as client:
        assert client.ping()


def test_sync_restores_what_redis_lost_and_removes_what_nobody_granted(server: Server, portal: redis.Redis) -> None:
    granted = hostlink.grant(A)
    assert hostlink.sync() == []
    portal.acl_deluser(hostlink.user_name(A))
    portal.execute_command("ACL SETUSER", hostlink.user_name(B), "on", "nopass", "~*", "+@all")
    assert hostlink.sync() == sorted([hostlink.user_name(A), hostlink.user_name(B)])
    with server.as_host(*granted) as client:
        assert client.ping()
    assert hostlink.user_name(B) not in portal.acl_users()


def test_redis_serves_a_new_certificate_without_a_restart(server: Server, portal: redis.Redis, monkeypatch) -> None:
    def served() -> bytes | None:
        context = ssl.create_default_context(cafile=server.tls["ssl_ca_certs"])
        context.load_cert_chain(server.tls["ssl_certfile"], server.tls["ssl_keyfile"])
        with (
            socket.create_connection(("127.0.0.1", server.private.tls_port), 10) as plain,
            context.wrap_socket(plain, server_hostname="127.0.0.1") as tls,
        ):
            return tls.getpeercert(binary_form=True)

    before = served()
    monkeypatch.setattr(pki, "RENEW_BEFORE", pki.timedelta(days=pki.SERVER_DAYS + 1))
    pki.refresh_server_certificate()
    assert served() == before
    assert hostlink.reload_certificate() is True
    assert served() != before


def test_without_redis_the_error_says_what_to_do(settings, tmp_path: Path) -> None:
    settings.REDIS_URL = f"unix://{tmp_path}/none.sock"
    with pytest.raises(Unavailable) as caught:
        hostlink.grant(A)
    assert "dev status" in caught.value.hint
    assert not hostlink.HostLink.objects.exists()


WORKER = """
import os, sys
from celery import Celery
from agent import broker
broker.install()
url, prefix, folder, ca = sys.argv[1:]
app = Celery("t", broker=url)
app.conf.update(
    broker_use_ssl={"ssl_cert_reqs": "required", "ssl_ca_certs": ca,
                    "ssl_certfile": folder + "/agent.pem", "ssl_keyfile": folder + "/agent.key"},
    broker_transport_options={"global_keyprefix": prefix, "visibility_timeout": 86400},
    broker_connection_retry_on_startup=False, task_acks_late=True, worker_prefetch_multiplier=1,
    task_ignore_result=True, worker_enable_remote_control=False, task_default_queue="jobs",
    worker_send_task_events=False, task_create_missing_queues=True,
)
@app.task(name="t.mark")
def mark(path):
    if path.endswith("/die"):
        try:
            os.close(os.open(path, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            os.rename(path, path + ".again")
        else:
            os.kill(os.getppid(), 9)
            os.kill(os.getpid(), 9)
    open(path + ".done", "x").close()
app.worker_main(["worker", "--without-gossip", "--without-mingle", "--without-heartbeat", "-c", "1", "-l", "warning"])
"""


def start_worker(server: Server, granted: tuple[str, str], folder: Path) -> subprocess.Popen[bytes]:
    url = f"rediss://{granted[0]}:{granted[1]}@127.0.0.1:{server.private.tls_port}/0"
    with (folder / "worker.log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-c", WORKER, url, keys.prefix(A), str(folder), str(pki.ca_path())], stdout=log, stderr=log
        )


def send(server: Server, path: Path) -> None:
    from celery import Celery

    app = Celery("p", set_as_current=False)
    url = "redis+socket://" + server.private.url().removeprefix("unix://")
    with Connection(url, transport_options={"global_keyprefix": keys.prefix(A)}) as connection:
        app.send_task("t.mark", args=[str(path)], queue=QUEUE, connection=connection)


def await_file(path: Path, worker: subprocess.Popen[bytes] | None, log: Path, limit: float = 120) -> None:
    deadline = time.monotonic() + limit
    while not path.exists():
        assert worker is None or worker.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.05)


def test_celery_works_under_a_hosts_rights_and_redelivers_what_a_dead_worker_held(
    server: Server, portal: redis.Redis, tmp_path: Path
) -> None:
    granted = hostlink.grant(A)
    portal.execute_command("ACL LOG", "RESET")
    log = tmp_path / "worker.log"
    worker = start_worker(server, granted, tmp_path)
    try:
        send(server, tmp_path / "one")
        await_file(tmp_path / "one.done", worker, log)
        send(server, tmp_path / "die")
        worker.wait(60)
        worker = start_worker(server, granted, tmp_path)
        await_file(tmp_path / "die.done", worker, log)
    finally:
        worker.terminate()
        worker.wait(60)
    assert portal.execute_command("ACL LOG") == [], log.read_text()
    assert not [key for key in portal.scan_iter() if not key.startswith((MINE.encode(), OTHER.encode(), b"portal:"))]
