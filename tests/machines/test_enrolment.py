"""A host comes in once per token, over TLS, and gets exactly what it needs; whoever may not manage hosts makes none."""

from __future__ import annotations

import asyncio
import json
import re
import shlex
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from django.contrib.auth.models import User
from django.test import AsyncClient, Client
from django.utils import timezone

from audit.models import AuditEvent
from contract import PROTOCOL
from contract.live import EnrolRequest
from machines import agent_views
from machines.models import EnrolmentToken, Host
from machines.services import enrolment
from tasks import hostlink, pki
from teams.errors import Conflict, Invalid, PermissionDenied, Unavailable
from teams.models import Membership, Role, Team

pytestmark = pytest.mark.django_db

FACTS = {
    "hostname": "srv1", "agent_version": "0.1.0", "os": "Debian GNU/Linux 12", "kernel": "6.1", "arch": "x86-64",
    "systemd": "252", "cpus": 2, "memory_bytes": 1, "pool_fs": "btrfs", "pool_bytes": 1,
    "boot_time": "2026-01-01T00:00:00Z", "checks": [],
}  # fmt: skip


def csr() -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "srv1")])
    made = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    return made.public_bytes(serialization.Encoding.PEM).decode()


def body(token: str, **changes: object) -> dict[str, object]:
    return {"protocol": PROTOCOL, "token": token, "csr": csr(), "facts": FACTS} | changes


@pytest.fixture(autouse=True)
def place(settings, tmp_path: Path, monkeypatch) -> dict[str, list[object]]:
    """Own keys and bundle; Redis is stood in for here (test_hostlink has the real one)."""
    settings.AGENT_BUNDLE_DIR = tmp_path
    settings.AGENT_URL, settings.AGENT_REDIS_HOST = "", ""
    (tmp_path / "bundle.tar").write_bytes(b"a bundle")
    granted: list[object] = []

    def grant(host_id):
        granted.append(host_id)
        return hostlink.user_name(host_id), "secret-password"

    monkeypatch.setattr(hostlink, "grant", grant)
    monkeypatch.setattr(agent_views, "_count_attempt", lambda ip: None)
    return {"granted": granted}


@pytest.fixture
def root() -> User:
    return User.objects.create_superuser("root", password="x")


def post(token: str, client: Client | None = None, **changes: object):
    return (client or Client()).post(
        "/agent/enrol", json.dumps(body(token, **changes)), content_type="application/json", secure=True,
        headers={"host": "192.0.2.10:8443"},
    )  # fmt: skip


def test_an_operators_token_lets_one_host_in(root: User, place) -> None:
    row, plain = enrolment.token_create(by=root, host_name="srv1")
    assert plain not in row.digest and timedelta(minutes=29) < row.expires_at - timezone.now() <= timedelta(minutes=30)
    response = post(plain)
    assert response.status_code == 200, response.content
    answer = response.json()
    host = Host.objects.get(name="srv1")
    assert answer["host"] == str(host.pk) and place["granted"] == [host.pk]
    assert answer["redis_host"] == "192.0.2.10" and answer["redis_password"] == "secret-password"
    assert host.certificate_fingerprint == pki.fingerprint(answer["certificate"])
    assert host.facts["systemd"] == "252" and host.enrolled_at is not None
    row.refresh_from_db()
    assert row.host == host and row.used_at is not None
    assert list(AuditEvent.objects.order_by("seq").values_list("action", flat=True))[-2:] == [
        "host.token",
        "host.enrol",
    ]
    assert "secret" not in json.dumps(list(AuditEvent.objects.values_list("detail", flat=True)))


def test_a_token_works_once(root: User) -> None:
    _, plain = enrolment.token_create(by=root, host_name="srv1")
    assert post(plain).status_code == 200
    second = post(plain)
    assert second.status_code == 403
    assert second.json()["why"] == "It has been used."


def test_an_old_token_does_not_work(root: User) -> None:
    row, plain = enrolment.token_create(by=root, host_name="srv1")
    EnrolmentToken.objects.filter(pk=row.pk).update(expires_at=timezone.now() - timedelta(seconds=1))
    assert post(plain).status_code == 403
    assert not Host.objects.exists()


def test_an_unknown_token_says_nothing_of_others(root: User) -> None:
    response = post("x" * 43)
    assert response.status_code == 403
    assert set(response.json()) == {"code", "what", "why", "hint"}


def test_when_redis_is_away_nothing_happens_and_the_token_stays_good(root: User, monkeypatch) -> None:
    _, plain = enrolment.token_create(by=root, host_name="srv1")
    with monkeypatch.context() as patch:

        def away(host_id):
            raise Unavailable("redis_unavailable", "x")

        patch.setattr(hostlink, "grant", away)
        assert post(plain).status_code == 503
    assert not Host.objects.exists()
    assert post(plain).status_code == 200


def test_a_bad_certificate_request_keeps_the_token_good(root: User) -> None:
    _, plain = enrolment.token_create(by=root, host_name="srv1")
    assert post(plain, csr="nonsense").json()["code"] == "bad_certificate_request"
    assert post(plain).status_code == 200


def test_another_protocol_version_is_told_so(root: User) -> None:
    _, plain = enrolment.token_create(by=root, host_name="srv1")
    assert post(plain, protocol=99).json()["code"] == "protocol"


def test_a_malformed_request_is_told_where(root: User) -> None:
    response = post("t" * 201)
    assert response.status_code == 422
    assert response.json()["why"].startswith("token:")


def test_a_revoked_host_comes_back_as_itself(root: User) -> None:
    host = Host.objects.create(name="srv1", enrolled_at=timezone.now(), revoked_at=timezone.now())
    _, plain = enrolment.token_create(by=root, host_name="srv1")
    assert post(plain).json()["host"] == str(host.pk)
    host.refresh_from_db()
    assert host.revoked_at is None


def test_two_tokens_for_one_name_make_one_host(root: User) -> None:
    first, second = (enrolment.token_create(by=root, host_name="srv1")[1] for _ in range(2))
    assert post(first).status_code == 200
    assert post(second).json()["code"] == "host_name_taken"
    assert Host.objects.count() == 1


def test_only_who_manages_hosts_makes_tokens(root: User) -> None:
    team = Team.objects.create(name="t", slug="t")
    for role in Role.values:
        person = User.objects.create_user(f"p-{role}")
        Membership.objects.create(user=person, team=team, role=role)
        with pytest.raises(PermissionDenied):
            enrolment.token_create(by=person, host_name="srv1")
    with pytest.raises(PermissionDenied):
        enrolment.token_create(by=User.objects.create_user("stranger"), host_name="srv1")
    assert not EnrolmentToken.objects.exists()


@pytest.mark.parametrize("name", ["", "UPPER", "-x", "a b", "a;b", "x" * 65, "é"])
def test_a_bad_name_is_refused(root: User, name: str) -> None:
    with pytest.raises(Invalid) as caught:
        enrolment.token_create(by=root, host_name=name)
    assert caught.value.field == "name"


def test_a_taken_name_is_refused(root: User) -> None:
    Host.objects.create(name="srv1")
    with pytest.raises(Conflict):
        enrolment.token_create(by=root, host_name="srv1")


def test_the_line_pins_the_key_and_hashes_the_bundle(settings) -> None:
    settings.AGENT_URL = "https://portal.example.test:8443"
    line = enrolment.install_line("TOKEN")
    assert "\n" not in line
    words = shlex.split(line)
    assert words[words.index("--pinnedpubkey") + 1] == words[words.index("--pin") + 1] == pki.pin()
    assert words[words.index("--portal") + 1] == "https://portal.example.test:8443"
    assert words[words.index("--token") + 1] == "TOKEN"
    assert re.fullmatch("[0-9a-f]{64}", words[words.index("--bundle-sha256") + 1])


def test_without_a_bundle_the_line_says_how_to_make_one(settings, tmp_path: Path) -> None:
    settings.AGENT_BUNDLE_DIR = tmp_path / "none"
    with pytest.raises(Unavailable) as caught:
        enrolment.install_line("TOKEN")
    assert "agent.packaging.bundle" in caught.value.hint


def test_the_bundle_is_streamed(settings) -> None:
    big = settings.AGENT_BUNDLE_DIR / "bundle.tar"
    big.write_bytes(b"0123456789abcdef" * 65536)

    async def fetch() -> tuple[int, bytes]:
        response = await AsyncClient().get("/agent/bundle.tar", secure=True)
        return int(response["Content-Length"]), b"".join([piece async for piece in response.streaming_content])

    length, content = asyncio.run(fetch())
    assert length == len(content) == 1 << 20
    assert content == big.read_bytes()


@pytest.mark.parametrize(
    ("method", "path"), [("get", "/agent/install.sh"), ("get", "/agent/bundle.tar"), ("post", "/agent/enrol")]
)
def test_nothing_is_served_in_the_clear_to_others(method: str, path: str) -> None:
    response = getattr(Client(REMOTE_ADDR="192.0.2.99"), method)(path)
    assert response.status_code == 403
    assert response.json()["code"] == "tls_needed"


def test_the_request_model_is_strict() -> None:
    with pytest.raises(ValueError, match="extra"):
        EnrolRequest.model_validate(body("t", more=1))
