"""The portal's keys are private, made once, and give certificates that TLS takes."""

from __future__ import annotations

import base64
import hashlib
import multiprocessing
import socket
import ssl
import stat
import threading
import uuid
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from tasks import addresses, pki
from teams.errors import Invalid


@pytest.fixture(autouse=True)
def _own_folder(settings, tmp_path: Path) -> None:
    settings.PKI_DIR = tmp_path / "pki"
    settings.AGENT_URL = "https://portal.example.test:8443"
    settings.AGENT_REDIS_HOST = "203.0.113.9"


def request(key=None, name: str = "whatever") -> str:
    key = key or ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    csr = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    return csr.public_bytes(serialization.Encoding.PEM).decode()


def test_private_keys_are_readable_by_the_owner_alone(settings) -> None:
    pki.ensure()
    assert stat.S_IMODE(settings.PKI_DIR.stat().st_mode) == 0o700
    keys = sorted(settings.PKI_DIR.glob("*.key"))
    assert [path.name for path in keys] == ["ca.key", "live.key", "orders.key", "server.key"]
    assert {stat.S_IMODE(path.stat().st_mode) for path in keys} == {0o600}


def test_nothing_is_made_twice(settings) -> None:
    pki.ensure()
    before = {path.name: path.read_bytes() for path in settings.PKI_DIR.iterdir()}
    pki.ensure()
    assert {path.name: path.read_bytes() for path in settings.PKI_DIR.iterdir()} == before


def _ensure_in_process(folder: str, results) -> None:
    from django.conf import settings

    settings.PKI_DIR = Path(folder)
    results.put((pki.pin(), pki.ca_path().read_text()))


def test_processes_that_start_at_once_agree(settings) -> None:
    fork = multiprocessing.get_context("fork")
    results = fork.Queue()
    running = [fork.Process(target=_ensure_in_process, args=(str(settings.PKI_DIR), results)) for _ in range(4)]
    for one in running:
        one.start()
    seen = {results.get(timeout=60) for _ in running}
    for one in running:
        one.join(60)
    assert len(seen) == 1


def test_a_crash_between_key_and_certificate_keeps_the_key(settings) -> None:
    pki.ensure()
    key = (settings.PKI_DIR / "server.key").read_bytes()
    (settings.PKI_DIR / "server.pem").unlink()
    pki.ensure()
    assert (settings.PKI_DIR / "server.key").read_bytes() == key
    assert (settings.PKI_DIR / "server.pem").exists()


def test_the_pin_is_curls_hash_of_the_public_key() -> None:
    certificate = x509.load_pem_x509_certificate(pki.server_certificate_path().read_bytes())
    spki = certificate.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    assert pki.pin() == "sha256//" + base64.b64encode(hashlib.sha256(spki).digest()).decode()


def test_the_server_certificate_follows_the_addresses_and_keeps_its_key(settings, monkeypatch) -> None:
    pin = pki.pin()
    assert pki.refresh_server_certificate() is False
    more = addresses.local_addresses() | {addresses.ipaddress.ip_address("198.51.100.7")}
    monkeypatch.setattr(pki, "local_addresses", lambda: more)
    assert pki.refresh_server_certificate() is True
    assert pki.refresh_server_certificate() is False
    held = x509.load_pem_x509_certificate(pki.server_certificate_path().read_bytes())
    names = held.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert "198.51.100.7" in {str(ip) for ip in names.get_values_for_type(x509.IPAddress)}
    assert "203.0.113.9" in {str(ip) for ip in names.get_values_for_type(x509.IPAddress)}
    assert "portal.example.test" in names.get_values_for_type(x509.DNSName)
    assert pki.pin() == pin


def test_the_server_certificate_is_renewed_before_it_ends(monkeypatch) -> None:
    pki.ensure()
    monkeypatch.setattr(pki, "RENEW_BEFORE", pki.timedelta(days=pki.SERVER_DAYS + 1))
    assert pki.refresh_server_certificate() is True


def test_a_host_certificate_names_the_host_and_not_what_was_asked() -> None:
    host = uuid.uuid4()
    pem = pki.issue_host_certificate(request(name="root"), host)
    certificate = x509.load_pem_x509_certificate(pem.encode())
    assert certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value == str(host)
    uses = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(uses) == [x509.ExtendedKeyUsageOID.CLIENT_AUTH]
    assert pki.fingerprint(pem) == certificate.fingerprint(hashes.SHA256()).hex()


@pytest.mark.parametrize(
    ("csr", "word"),
    [
        ("", ""),
        ("-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n", ""),
        (request(rsa.generate_private_key(public_exponent=65537, key_size=1024)), "2048 bits"),
        (request(ec.generate_private_key(ec.SECP192R1())), "P-256"),
    ],
)
def test_a_bad_request_is_refused_with_the_reason(csr: str, word: str) -> None:
    with pytest.raises(Invalid) as caught:
        pki.issue_host_certificate(csr, uuid.uuid4())
    assert caught.value.code == "bad_certificate_request"
    assert word in caught.value.why


def test_a_request_signed_by_another_key_is_refused() -> None:
    good = x509.load_pem_x509_csr(request().encode()).public_bytes(serialization.Encoding.DER)
    broken = good[:-4] + bytes(byte ^ 0xFF for byte in good[-4:])
    pem = "-----BEGIN CERTIFICATE REQUEST-----\n" + base64.encodebytes(broken).decode()
    with pytest.raises(Invalid):
        pki.issue_host_certificate(pem + "-----END CERTIFICATE REQUEST-----\n", uuid.uuid4())


def test_both_sides_of_tls_take_the_certificates(tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    (tmp_path / "agent.key").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    (tmp_path / "agent.pem").write_text(pki.issue_host_certificate(request(key), uuid.uuid4()))
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(pki.ca_path()))
    server.load_cert_chain(pki.server_certificate_path(), pki.server_key_path())
    server.verify_mode = ssl.CERT_REQUIRED
    client = ssl.create_default_context(cafile=str(pki.ca_path()))
    client.verify_flags |= ssl.VERIFY_X509_STRICT
    client.load_cert_chain(tmp_path / "agent.pem", tmp_path / "agent.key")
    left, right = socket.socketpair()
    seen: list[object] = []

    def serve() -> None:
        with server.wrap_socket(left, server_side=True) as tls:
            seen.append(tls.getpeercert())
            tls.sendall(b"hello")

    thread = threading.Thread(target=serve)
    thread.start()
    with client.wrap_socket(right, server_hostname="127.0.0.1") as tls:
        assert tls.recv(5) == b"hello"
    thread.join(10)
    assert seen and seen[0]
