"""Live requests: only what the portal signed, for this host, in time and once, is obeyed."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from agent.errors import ConfigError
from agent.live.inbox import REPORTS_AT_ONCE, RefusalLog
from agent.live.verify import Gate, RefusedRequest, StaleRequest, load_key
from agent.store import Store
from contract.events import Refused
from contract.live import CancelJob, ReportInventory, SignedRequest, TerminalInput
from tests.agent.live.live_fakes import Portal


@pytest.fixture
def gate(host_id: UUID, portal: Portal, store: Store) -> Gate:
    return Gate(host_id, portal.key.public_key(), store.seen_request)


def refusal(gate: Gate, raw: bytes, sent: datetime | None = None) -> RefusedRequest:
    with pytest.raises(RefusedRequest) as caught:
        gate.admit(raw, sent=sent)
    return caught.value


def test_a_signed_request_is_admitted(gate: Gate, portal: Portal) -> None:
    request = CancelJob(job=uuid4())
    assert gate.admit(portal.sign(request)) == request


def test_a_replay_is_refused_also_after_a_restart(gate: Gate, portal: Portal, store: Store, host_id: UUID) -> None:
    raw = portal.sign(ReportInventory())
    gate.admit(raw)
    assert refusal(gate, raw).code == "replayed"
    restarted = Gate(host_id, portal.key.public_key(), store.seen_request)
    assert refusal(restarted, raw).code == "replayed"


def test_another_signer_is_refused(gate: Gate, host_id: UUID) -> None:
    assert refusal(gate, Portal(host_id).sign(ReportInventory())).code == "bad_signature"


def test_a_changed_payload_is_refused(gate: Gate, portal: Portal) -> None:
    envelope = json.loads(portal.sign(CancelJob(job=uuid4())))
    envelope["payload"] = envelope["payload"].replace("job.cancel", "job.resend")
    assert refusal(gate, json.dumps(envelope).encode()).code == "bad_signature"


def test_a_request_for_another_host_is_refused(gate: Gate, portal: Portal) -> None:
    assert refusal(gate, portal.sign(ReportInventory(), host=uuid4())).code == "wrong_host"


def test_an_expired_request_is_refused(gate: Gate, portal: Portal) -> None:
    raw = portal.sign(ReportInventory(), life_s=-1)
    assert refusal(gate, raw).code == "expired"
    assert isinstance(refusal(gate, raw, sent=datetime.now(UTC) - timedelta(seconds=9)), StaleRequest)
    assert not isinstance(refusal(gate, raw, sent=datetime.now(UTC)), StaleRequest), "sent after its end: a replay"


def test_a_request_that_would_live_for_ever_is_refused(gate: Gate, portal: Portal) -> None:
    assert refusal(gate, portal.sign(ReportInventory(), life_s=86400)).code == "lifetime"


def test_a_request_without_a_time_zone_is_refused(gate: Gate, portal: Portal) -> None:
    soon = (datetime.now(UTC) + timedelta(seconds=30)).replace(tzinfo=None)
    assert refusal(gate, portal.sign(ReportInventory(), expires=soon)).code == "malformed"


def test_another_protocol_is_told_apart(gate: Gate, portal: Portal) -> None:
    signed = SignedRequest(
        id=uuid4(), host=portal.host, expires=datetime.now(UTC) + timedelta(seconds=9), request=ReportInventory()
    )
    payload = signed.model_dump(mode="json") | {"protocol": 99}
    found = refusal(gate, portal.seal(json.dumps(payload)))
    assert found.code == "protocol"
    assert "99" in found.why


@pytest.mark.parametrize(
    "raw",
    [
        b"", b"{", b"null", b"\xff", b'{"payload":"x"}', b'{"payload":"{}","signature":"!!"}', b"[" * 100_000,
        b'{"payload":"{}","signature":"","more":1}',
    ],
)  # fmt: skip
def test_nonsense_is_refused(gate: Gate, raw: bytes) -> None:
    assert refusal(gate, raw).code == "malformed"


@pytest.mark.parametrize(
    "payload", ["", "{}", "null", "[]", '{"protocol":1,"request":{"kind":"shell.run"}}', "[" * 50_000]
)
def test_signed_nonsense_is_refused_too(gate: Gate, portal: Portal, payload: str) -> None:
    assert refusal(gate, portal.seal(payload)).code == "malformed"


def test_a_short_signature_is_refused(gate: Gate) -> None:
    raw = json.dumps({"payload": "{}", "signature": base64.b64encode(b"short").decode()}).encode()
    assert refusal(gate, raw).code == "bad_signature"


def test_keystrokes_cost_no_disk_write(host_id: UUID, portal: Portal) -> None:
    def seen(request: UUID, expires: datetime) -> bool:
        raise AssertionError("looked up on disk")

    gate = Gate(host_id, portal.key.public_key(), seen)
    typed = TerminalInput(session=uuid4(), seq=1, data="")
    assert gate.admit(portal.sign(typed)) == typed


def test_a_flood_of_refusals_becomes_few_reports() -> None:
    class Reports:
        def __init__(self) -> None:
            self.bodies: list[Refused] = []

        def refuse(self, body: Refused) -> None:
            self.bodies.append(body)

    now, reports = [0.0], Reports()
    refusals = RefusalLog(reports, clock=lambda: now[0])
    for _ in range(1000):
        refusals.add(RefusedRequest("bad_signature", "no"))
    assert len(reports.bodies) == REPORTS_AT_ONCE
    now[0] = 60.0
    refusals.add(RefusedRequest("bad_signature", "no"))
    assert "990 more" in reports.bodies[-1].why


def test_the_pinned_key_must_be_ed25519(tmp_path: Path) -> None:
    file = tmp_path / "live.pub"
    with pytest.raises(ConfigError):
        load_key(file)
    file.write_bytes(
        generate_private_key(SECP256R1()).public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    )
    with pytest.raises(ConfigError):
        load_key(file)
    key = Ed25519PrivateKey.generate().public_key()
    file.write_bytes(key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    assert load_key(file) == key
