"""Enrolment against a portal that is real as far as TLS and JSON go."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from agent.config import Config
from agent.enrol import enrol
from agent.errors import AgentError
from agent.pinned import Trust, request
from tests.agent.small_portal import SmallPortal, free_port
from tests.agent.test_agent_worker import facts


def test_enrolment_leaves_a_whole_private_configuration(small_portal: SmallPortal, tmp_path: Path) -> None:
    place = tmp_path / "etc"
    made = enrol(small_portal.url + "/", small_portal.token(), Trust(small_portal.pin), facts(), place)
    assert Config.load(place) == made
    assert made.host in small_portal.hosts and made.portal_url == small_portal.url
    assert stat.S_IMODE(place.stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in place.iterdir()} == {0o600}
    assert request(f"{made.portal_url}/agent/x", Trust(ca=made.ca)).status == 404
    assert made.redis_password not in repr(made)


def test_a_used_token_is_explained(small_portal: SmallPortal, tmp_path: Path) -> None:
    token = small_portal.token()
    enrol(small_portal.url, token, Trust(small_portal.pin), facts(), tmp_path / "one")
    with pytest.raises(AgentError) as caught:
        enrol(small_portal.url, token, Trust(small_portal.pin), facts(), tmp_path / "two")
    assert (caught.value.code, caught.value.why) == ("permission_denied", "It has been used.")
    assert not (tmp_path / "two").exists()


def test_an_enrolled_host_is_not_enrolled_again_by_accident(small_portal: SmallPortal, tmp_path: Path) -> None:
    place, trust = tmp_path / "etc", Trust(small_portal.pin)
    first = enrol(small_portal.url, small_portal.token(), trust, facts(), place)
    with pytest.raises(AgentError) as caught:
        enrol(small_portal.url, small_portal.token(), trust, facts(), place)
    assert caught.value.code == "already_enrolled"
    second = enrol(small_portal.url, small_portal.token(), trust, facts(), place, force=True)
    assert second.host != first.host and Config.load(place) == second
    assert sorted(tmp_path.iterdir()) == [place], "nothing is left beside it"


def test_a_wrong_pin_sends_nothing(small_portal: SmallPortal, tmp_path: Path) -> None:
    token = small_portal.token()
    with pytest.raises(AgentError) as caught:
        enrol(small_portal.url, token, Trust("sha256//" + "A" * 43 + "="), facts(), tmp_path / "etc")
    assert caught.value.code == "wrong_pin"
    assert token in small_portal.tokens


def test_without_a_pin_an_unknown_ca_is_not_trusted(small_portal: SmallPortal, tmp_path: Path) -> None:
    with pytest.raises(AgentError) as caught:
        enrol(small_portal.url, small_portal.token(), Trust(), facts(), tmp_path / "etc")
    assert caught.value.code == "portal_unreachable" and "verify" in caught.value.why
    enrol(small_portal.url, small_portal.token(), Trust(ca=small_portal.folder / "ca.pem"), facts(), tmp_path / "etc")


def test_an_unreachable_portal_is_named(tmp_path: Path) -> None:
    with pytest.raises(AgentError) as caught:
        enrol(f"https://127.0.0.1:{free_port()}", "t", Trust("sha256//" + "A" * 43 + "="), facts(), tmp_path / "etc")
    assert caught.value.code == "portal_unreachable"


@pytest.mark.parametrize("pin", ["sha256/abc", "md5//x", "sha256//short="])
def test_a_broken_pin_is_refused_at_once(pin: str) -> None:
    with pytest.raises(AgentError, match="is not a pin"):
        Trust(pin)


def test_a_host_that_is_not_enrolled_says_so(tmp_path: Path) -> None:
    with pytest.raises(AgentError, match="not enrolled"):
        Config.load(tmp_path)
