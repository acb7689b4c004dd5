"""A small portal for tests of the agent: CA, keys, a private Redis with TLS and hosts' users, and /agent/ over HTTPS.

It says what a real portal says to hosts, by the same contract, and nothing else.
"""

from __future__ import annotations

import base64
import hashlib
import ipaddress
import json
import secrets
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import redis
from celery import Celery
from celery.security.certificate import Certificate
from celery.security.key import PrivateKey
from celery.security.serialization import SecureSerializer
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from cryptography.x509.oid import NameOID
from kombu import Connection, Exchange, Producer

from contract import PROTOCOL, keys
from contract.events import EVENT, Event, Finished
from contract.live import CancelJob, EnrolRequest, EnrolResponse, Envelope, SignedRequest
from contract.orders import PARAMS, QUEUE, TASK_NAME, Order
from tasks.hostlink import COMMANDS


def wait_until(condition: Callable[[], Any], limit_s: float, what: str) -> Any:
    """The condition's first true value; fails after `limit_s` seconds."""
    end = time.monotonic() + limit_s
    while not (value := condition()):
        assert time.monotonic() < end, f"{what}: not within {limit_s} s"
        time.sleep(0.02)
    return value


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("", 0))
        return int(probe.getsockname()[1])


def _pem(key: Any) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _usage(ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True, key_cert_sign=ca, crl_sign=ca, content_commitment=False, key_encipherment=False,
        data_encipherment=False, key_agreement=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip


def make_signer(name: str = "orders") -> SecureSerializer:
    """Celery's auth serializer with a key of its own; `.certificate_pem` is what agents pin."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder().subject_name(_name(name)).issuer_name(_name(name)).public_key(key.public_key())
        .serial_number(x509.random_serial_number()).not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=30)).sign(key, hashes.SHA256())
    )  # fmt: skip
    pem = certificate.public_bytes(Encoding.PEM).decode()
    signer = SecureSerializer(PrivateKey(_pem(key)), Certificate(pem), None, "sha256")
    signer.certificate_pem = pem
    return signer


class SmallPortal:
    """`address` is where hosts reach this machine."""

    def __init__(self, folder: Path, address: str = "127.0.0.1", bundle: Path | None = None) -> None:
        self.folder, self.address, self.bundle = folder, address, bundle
        folder.mkdir(parents=True, exist_ok=True)
        self.signer = make_signer()
        self.live_key = Ed25519PrivateKey.generate()
        self.tokens: set[str] = set()
        self.hosts: dict[UUID, str] = {}
        self._seen: dict[UUID, tuple[list[Event], str]] = {}
        self._ca_key = ec.generate_private_key(ec.SECP256R1())
        self._ca = self._sign(_name("test CA"), self._ca_key.public_key(), ca=True)
        self._write_keys()
        self.redis_port, self.https_port = free_port(), free_port()
        self._redis: subprocess.Popen[bytes] | None = None
        self.start_redis()
        self._serve()
        self.celery = Celery("small-portal", set_as_current=False)

    # --- keys -------------------------------------------------------------------------------------------------------

    def _sign(self, subject: x509.Name, public: Any, *, ca: bool = False) -> x509.Certificate:
        now = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder().subject_name(subject).issuer_name(_name("test CA")).public_key(public)
            .serial_number(x509.random_serial_number()).not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=90))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        )  # fmt: skip
        # Python 3.13 verifies strictly (RFC 5280): key identifiers and key usage must be there.
        issuer = x509.SubjectKeyIdentifier.from_public_key(self._ca_key.public_key())
        builder = (
            builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(issuer), critical=False)
            .add_extension(_usage(ca), critical=True)
        )
        if not ca:
            names = [x509.IPAddress(ipaddress.ip_address(one)) for one in {self.address, "127.0.0.1"}]
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return builder.sign(self._ca_key, hashes.SHA256())

    def _write_keys(self) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        server = self._sign(_name("portal"), key.public_key())
        (self.folder / "ca.pem").write_bytes(self._ca.public_bytes(Encoding.PEM))
        (self.folder / "server.pem").write_bytes(server.public_bytes(Encoding.PEM))
        (self.folder / "server.key").write_text(_pem(key))
        der = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        self.pin = "sha256//" + base64.b64encode(hashlib.sha256(der).digest()).decode()

    # --- Redis ------------------------------------------------------------------------------------------------------

    @property
    def _socket(self) -> str:
        return str(self.folder / "r.sock")

    def start_redis(self) -> None:
        tls = {name: str(self.folder / file) for name, file in
               (("ca-cert", "ca.pem"), ("cert", "server.pem"), ("key", "server.key"))}  # fmt: skip
        argv = ["redis-server", "--port", "0", "--unixsocket", self._socket, "--tls-port", str(self.redis_port)]
        argv += ["--bind", "0.0.0.0", "--protected-mode", "no", "--tls-auth-clients", "yes", "--appendonly", "yes"]
        argv += ["--dir", str(self.folder), "--save", "", "--logfile", str(self.folder / "redis.log")]
        for name, file in tls.items():
            argv += [f"--tls-{name}-file", file]
        self._redis = subprocess.Popen(argv)
        self.client = redis.Redis(unix_socket_path=self._socket, decode_responses=True)
        wait_until(self._answers, 15, "redis-server")
        for host, password in self.hosts.items():
            self._grant(host, password)

    def _answers(self) -> bool:
        try:
            return bool(self.client.ping())
        except redis.RedisError:
            return False

    def stop_redis(self) -> None:
        assert self._redis is not None
        self._redis.terminate()
        self._redis.wait(20)

    def _grant(self, host: UUID, password: str) -> None:
        rules = ["reset", "on", f">{password}", f"~{keys.prefix(host)}*", "resetchannels", "-@all", *COMMANDS]
        self.client.execute_command("ACL SETUSER", f"host-{host}", *rules)

    # --- enrolment --------------------------------------------------------------------------------------------------

    @property
    def url(self) -> str:
        return f"https://{self.address}:{self.https_port}"

    def token(self) -> str:
        token = secrets.token_urlsafe(16)
        self.tokens.add(token)
        return token

    def enrol(self, request: EnrolRequest) -> EnrolResponse:
        """Raises KeyError for a token that is not good (any more)."""
        self.tokens.remove(request.token)
        host, password = uuid4(), secrets.token_urlsafe(16)
        csr = x509.load_pem_x509_csr(request.csr.encode())
        certificate = self._sign(_name(f"host-{host}"), csr.public_key())
        self.hosts[host] = password
        self._grant(host, password)
        live = self.live_key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        return EnrolResponse(
            protocol=PROTOCOL, host=host, name=request.facts.hostname, ca=(self.folder / "ca.pem").read_text(),
            certificate=certificate.public_bytes(Encoding.PEM).decode(),
            order_certificate=self.signer.certificate_pem, live_key=live.decode(),
            redis_host=self.address, redis_port=self.redis_port, redis_user=f"host-{host}", redis_password=password,
        )  # fmt: skip

    def _serve(self) -> None:
        portal = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *args: Any) -> None:
                pass

            def _send(self, status: int, body: bytes) -> None:
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_GET(self) -> None:
                name = self.path.removeprefix("/agent/")
                if portal.bundle is not None and name in ("install.sh", "bundle.tar"):
                    self._send(200, (portal.bundle / name).read_bytes())
                else:
                    self._send(404, b"{}")

            def do_POST(self) -> None:
                raw = self.rfile.read(int(self.headers["Content-Length"]))
                try:
                    answer = portal.enrol(EnrolRequest.model_validate_json(raw))
                except KeyError:
                    words = {"code": "permission_denied", "what": "The token does not let this host in.",
                             "why": "It has been used.", "hint": "Make a new one."}  # fmt: skip
                    self._send(403, json.dumps(words).encode())
                else:
                    self._send(200, answer.model_dump_json().encode())

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.folder / "server.pem", self.folder / "server.key")
        self._https = ThreadingHTTPServer(("0.0.0.0", self.https_port), Handler)
        self._https.socket = context.wrap_socket(self._https.socket, server_side=True, do_handshake_on_connect=False)
        threading.Thread(target=self._https.serve_forever, daemon=True).start()

    def install_line(self, token: str) -> list[str]:
        """What an operator pastes, as an argument list."""
        assert self.bundle is not None
        digest = hashlib.sha256((self.bundle / "bundle.tar").read_bytes()).hexdigest()
        fetch = f'f=$(mktemp) && curl -fsSk --pinnedpubkey {self.pin} {self.url}/agent/install.sh -o "$f" && sh "$f"'
        line = f"{fetch} --portal {self.url} --pin {self.pin} --bundle-sha256 {digest} "
        return ["sh", "-c", line + (f"--token {token}" if token else "--upgrade")]

    # --- orders and events ------------------------------------------------------------------------------------------

    def order(self, host: UUID, params: dict[str, Any], **changes: Any) -> Order:
        now = datetime.now(UTC)
        values = {"job": uuid4(), "host": host, "issued": now, "expires": now + timedelta(days=7)} | changes
        return Order(params=PARAMS.validate_python(params), **values)

    def publish(self, queue_host: UUID, order: Order) -> None:
        """As a portal does: send_task with the auth serializer."""
        self.publish_raw(queue_host, self.signed_body([[order.model_dump(mode="json")], {}, _EMBED]))

    def signed_body(self, content: Any, signer: SecureSerializer | None = None) -> bytes:
        return str((signer or self.signer).serialize(content)).encode()

    def publish_raw(
        self,
        host: UUID,
        body: bytes | str,
        *,
        content_type: str = "application/data",
        task: str = TASK_NAME,
        **headers: Any,
    ) -> None:
        """Whatever body under whatever headers: also what only an attacker in Redis would write."""
        job = str(uuid4())
        fields = {"lang": "py", "task": task, "id": job, "root_id": job, "retries": 0, "timelimit": [None, None]}
        options = {"global_keyprefix": keys.prefix(host)}
        with Connection(f"redis+socket://{self._socket}", transport_options=options) as connection:
            Producer(connection, exchange=Exchange(""), routing_key=QUEUE).publish(
                body, content_type=content_type, content_encoding="utf-8", headers=fields | headers, correlation_id=job
            )

    def events(self, host: UUID) -> list[Event]:
        """All that came, in order. What came before is not read again: tests look often."""
        seen, last = self._seen.setdefault(host, ([], "-"))
        for entry, fields in self.client.xrange(keys.events(host), min=last if last == "-" else f"({last}"):
            seen.append(EVENT.validate_json(fields[keys.FIELD]))
            last = entry
        self._seen[host] = (seen, last)
        return seen

    def job_events(self, host: UUID, job: UUID | None) -> list[Event]:
        return [event for event in self.events(host) if event.job == job]

    def finished(self, host: UUID, job: UUID, limit_s: float = 60) -> Finished:
        def last() -> Finished | None:
            bodies = [event.body for event in self.job_events(host, job)]
            return next((body for body in bodies if isinstance(body, Finished)), None)

        found: Finished = wait_until(last, limit_s, f"end of job {job}")
        return found

    def do(self, host: UUID, params: dict[str, Any], limit_s: float = 60) -> Finished:
        """Send an order and wait for its end."""
        order = self.order(host, params)
        self.publish(host, order)
        return self.finished(host, order.job, limit_s)

    def cancel(self, host: UUID, job: UUID) -> None:
        expires = datetime.now(UTC) + timedelta(seconds=30)
        request = SignedRequest(id=uuid4(), host=host, expires=expires, request=CancelJob(job=job))
        payload = request.model_dump_json()
        signature = base64.b64encode(self.live_key.sign(payload.encode())).decode()
        envelope = Envelope(payload=payload, signature=signature)
        self.client.xadd(keys.live_in(host), {keys.FIELD: envelope.model_dump_json()})

    def close(self) -> None:
        self._https.shutdown()
        self._https.server_close()
        self.client.close()
        self.stop_redis()


_EMBED = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}
