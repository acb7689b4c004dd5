"""The portal's keys: its certificate authority, those that sign orders and live requests, the server certificate.

All lie in `settings.PKI_DIR` (0700); private keys are 0600. What is missing is made by whoever needs it first, under
one
lock, each file whole or not at all. A key is written before its certificate, so a crash in between leaves a key whose
certificate is made at the next call.

The server certificate (HTTPS for hosts, Redis for hosts) follows the machine's addresses and is re-issued before it
expires; its key never changes, so the pin in a copied enrolment line stays true.
"""

from __future__ import annotations

import base64
import fcntl
import hashlib
import ipaddress
import os
import re
import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit
from uuid import UUID

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes, PublicKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from django.conf import settings

from tasks.addresses import local_addresses
from teams.errors import Invalid

CA_DAYS = 7300
HOST_DAYS = 3650
"""A host's certificate; what ends it sooner is the removal of its Redis user (tasks.hostlink.revoke)."""
SERVER_DAYS = 397
RENEW_BEFORE = timedelta(days=30)
_BACKDATE = timedelta(hours=1)
"""Hosts whose clock is a little behind must not find a certificate that is not valid yet."""

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey
SigningKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


def ca_path() -> Path:
    """The CA's certificate (PEM): what hosts pin for HTTPS and Redis."""
    return _made("ca.pem")


def order_key_path() -> Path:
    """RSA private key (PEM, PKCS 8) of Celery's auth serializer."""
    return _made("orders.key")


def order_certificate_path() -> Path:
    """Certificate (PEM) by which agents verify orders."""
    return _made("orders.pem")


def server_key_path() -> Path:
    """Private key (PEM) of the listeners that hosts dial."""
    return _made("server.key")


def server_certificate_path() -> Path:
    """Server certificate followed by the CA's (PEM)."""
    return _made("server.pem")


def live_key() -> ed25519.Ed25519PrivateKey:
    """Signs live requests."""
    key = _load_key(_made("live.key"))
    if not isinstance(key, ed25519.Ed25519PrivateKey):
        raise TypeError(f"{settings.PKI_DIR / 'live.key'} is not an Ed25519 key.")
    return key


def live_public_pem() -> str:
    """Verifies live requests: SubjectPublicKeyInfo as PEM."""
    public = live_key().public_key()
    return public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()


def pin() -> str:
    """`sha256//BASE64` of the server's public key, as curl's --pinnedpubkey takes it (CURLOPT_PINNEDPUBLICKEY(3))."""
    return spki_pin(_load_key(server_key_path()).public_key())


def spki_pin(public: PublicKeyTypes) -> str:
    """The pin of a public key: SHA-256 over its DER SubjectPublicKeyInfo (RFC 7469, 2.4)."""
    spki = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return "sha256//" + base64.b64encode(hashlib.sha256(spki).digest()).decode()


def ensure() -> None:
    """Make whatever is missing. Cheap when nothing is; safe in any number of processes at once."""
    if all((settings.PKI_DIR / name).exists() for name in _FILES):
        return
    with _locked() as folder:
        ca_key = _key(folder, "ca.key", lambda: ec.generate_private_key(ec.SECP256R1()))
        if not (folder / "ca.pem").exists():
            _write(folder / "ca.pem", _pem(_ca_certificate(ca_key)), mode=0o644)
        orders = _key(folder, "orders.key", lambda: rsa.generate_private_key(public_exponent=65537, key_size=3072))
        if not (folder / "orders.pem").exists():
            _write(folder / "orders.pem", _pem(_order_certificate(folder, ca_key, orders)), mode=0o644)
        _key(folder, "live.key", ed25519.Ed25519PrivateKey.generate)
        server = _key(folder, "server.key", lambda: ec.generate_private_key(ec.SECP256R1()))
        if not (folder / "server.pem").exists():
            _issue_server(folder, ca_key, server)


def refresh_server_certificate() -> bool:
    """Issue the server certificate anew if our names changed or its end is near. True: servers must reload it."""
    ensure()
    if _server_is_current(settings.PKI_DIR):
        return False
    with _locked() as folder:
        if _server_is_current(folder):
            return True
        _issue_server(folder, _signing_key(folder / "ca.key"), _signing_key(folder / "server.key"))
    return True


def issue_host_certificate(csr_pem: str, host_id: UUID) -> str:
    """Certificate (PEM) for a host's key pair: its subject is the host's id, whatever is asked; clients only.

    Raises Invalid if the request cannot be read, is not signed by its own key, or its key is weak.
    """
    csr = _checked_csr(csr_pem)
    ensure()
    ca_key = _signing_key(settings.PKI_DIR / "ca.key")
    ca = _certificate(settings.PKI_DIR / "ca.pem")
    public = csr.public_key()
    builder = _builder(_name(str(host_id)), ca.subject, HOST_DAYS, public)
    builder = _leaf(builder, ca, ExtendedKeyUsageOID.CLIENT_AUTH)
    return _pem(builder.sign(ca_key, hashes.SHA256()))


def fingerprint(certificate_pem: str) -> str:
    """SHA-256 of a certificate, in hex."""
    return x509.load_pem_x509_certificate(certificate_pem.encode()).fingerprint(hashes.SHA256()).hex()


# --- Inside ---------------------------------------------------------------------------------------------------------

_DNS_NAME = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?")
_FILES = ("ca.key", "ca.pem", "orders.key", "orders.pem", "live.key", "server.key", "server.pem")


def _made(name: str) -> Path:
    ensure()
    path: Path = settings.PKI_DIR / name
    return path


@contextmanager
def _locked() -> Iterator[Path]:
    folder: Path = settings.PKI_DIR
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield folder


def _write(path: Path, data: bytes | str, *, mode: int) -> None:
    """Whole or not at all, durable, and never readable by others even for a moment (mkstemp makes 0600)."""
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data.encode() if isinstance(data, str) else data)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(mode)
        Path(temporary).rename(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _key(folder: Path, name: str, make: Callable[[], PrivateKey]) -> PrivateKey:
    """The key in that file, made first if it is missing."""
    path = folder / name
    if not path.exists():
        pem = make().private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        _write(path, pem, mode=0o600)
    return _load_key(path)


def _load_key(path: Path) -> PrivateKey:
    key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    if not isinstance(key, PrivateKey):
        raise TypeError(f"{path} holds a key of a kind that the portal never makes.")
    return key


def _signing_key(path: Path) -> SigningKey:
    key = _load_key(path)
    if not isinstance(key, SigningKey):
        raise TypeError(f"{path} holds a key that cannot sign certificates.")
    return key


def _certificate(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


def _pem(*certificates: x509.Certificate) -> str:
    return "".join(one.public_bytes(serialization.Encoding.PEM).decode() for one in certificates)


def _name(common: str) -> x509.Name:
    """A subject; CN is at most 64 characters (RFC 5280, ub-common-name)."""
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "nspawnweb"),
            x509.NameAttribute(NameOID.COMMON_NAME, common[:64]),
        ]
    )


def _builder(
    subject: x509.Name, issuer: x509.Name, days: int, public: CertificatePublicKeyTypes
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATE)
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    )


def _usage(*, sign: bool = False, certificates: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=sign,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=certificates,
        crl_sign=certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _ca_certificate(key: PrivateKey) -> x509.Certificate:
    signing = _must_sign(key)
    subject = _name("portal CA " + os.urandom(4).hex())
    builder = _builder(subject, subject, CA_DAYS, signing.public_key())
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(_usage(certificates=True), critical=True)
    return builder.sign(signing, hashes.SHA256())


def _must_sign(key: PrivateKey) -> SigningKey:
    if not isinstance(key, SigningKey):
        raise TypeError("An Ed25519 key stands where a key that signs certificates should.")
    return key


def _leaf(
    builder: x509.CertificateBuilder, ca: x509.Certificate, *uses: x509.ObjectIdentifier
) -> x509.CertificateBuilder:
    """What Python's VERIFY_X509_STRICT wants of a certificate that is not a CA's."""
    issuer_key = ca.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(_usage(sign=True), critical=True)
    builder = builder.add_extension(
        x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(issuer_key), critical=False
    )
    return builder.add_extension(x509.ExtendedKeyUsage(list(uses)), critical=False) if uses else builder


def _order_certificate(folder: Path, ca_key: PrivateKey, orders: PrivateKey) -> x509.Certificate:
    """Signed by the CA for the record; agents pin this very certificate and never follow a chain."""
    ca = _certificate(folder / "ca.pem")
    builder = _leaf(_builder(_name("portal orders"), ca.subject, CA_DAYS, orders.public_key()), ca)
    return builder.sign(_must_sign(ca_key), hashes.SHA256())


def _issue_server(folder: Path, ca_key: PrivateKey, key: PrivateKey) -> None:
    ca = _certificate(folder / "ca.pem")
    names = _server_names()
    builder = _builder(_name("portal"), ca.subject, SERVER_DAYS, key.public_key())
    builder = _leaf(builder, ca, ExtendedKeyUsageOID.SERVER_AUTH)
    builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    _write(folder / "server.pem", _pem(builder.sign(_must_sign(ca_key), hashes.SHA256()), ca), mode=0o644)


def _server_is_current(folder: Path) -> bool:
    certificate = _certificate(folder / "server.pem")
    if certificate.not_valid_after_utc - datetime.now(UTC) < RENEW_BEFORE:
        return False
    held = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return set(_server_names()) == set(held)


def _server_names() -> list[x509.GeneralName]:
    """Every name by which a host may dial: local addresses, the host name, and what the settings say."""
    texts = {"localhost", socket.gethostname(), socket.getfqdn()}
    texts |= {urlsplit(settings.AGENT_URL).hostname or "", settings.AGENT_REDIS_HOST, *settings.AGENT_NAMES}
    texts |= {str(address) for address in local_addresses()}
    names: list[x509.GeneralName] = []
    for text in sorted(text.lower() for text in texts if text):
        try:
            names.append(x509.IPAddress(ipaddress.ip_address(text)))
        except ValueError:
            if _DNS_NAME.fullmatch(text):
                names.append(x509.DNSName(text))
    return names


def _checked_csr(csr_pem: str) -> x509.CertificateSigningRequest:
    try:
        csr = x509.load_pem_x509_csr(csr_pem.encode())
        signed = csr.is_signature_valid
    except (ValueError, UnsupportedAlgorithm, InvalidSignature) as error:
        raise _bad_csr(str(error) or "It cannot be read.") from error
    if not signed:
        raise _bad_csr("It is not signed by the key that it names.")
    public = csr.public_key()
    if isinstance(public, rsa.RSAPublicKey):
        good = 2048 <= public.key_size <= 8192
    elif isinstance(public, ec.EllipticCurvePublicKey):
        good = public.curve.name in {"secp256r1", "secp384r1", "secp521r1"}
    else:
        good = isinstance(public, ed25519.Ed25519PublicKey)
    if not good:
        raise _bad_csr("Its key must be RSA of 2048 bits or more, EC on P-256, P-384 or P-521, or Ed25519.")
    return csr


def _bad_csr(why: str) -> Invalid:
    return Invalid(
        "bad_certificate_request",
        "The certificate request was not taken.",
        why=why,
        hint="Run `nspawnweb-agent enrol` again with a new line from Hosts, Add host.",
    )
