"""Hosts get addresses that nothing else on the machine uses, and keep them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lab import subnets
from lab.errors import LabError
from lab.subnets import Network


@pytest.fixture
def shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The shared folder, the routes and the forwarding switch of a machine of our own."""
    forward = tmp_path / "ip_forward"
    forward.write_text("0\n")
    monkeypatch.setattr(subnets, "SHARED", tmp_path / "shared")
    monkeypatch.setattr(subnets, "FORWARD", forward)
    inotify = tmp_path / "max_user_instances"
    inotify.write_text("128\n")
    monkeypatch.setattr(subnets, "INOTIFY", inotify)
    monkeypatch.setattr(subnets, "call", lambda argv, **kw: "[]")
    return tmp_path


def host(folder: Path, name: str) -> Path:
    path = folder / name / "host.json"
    path.parent.mkdir()
    path.write_text("{}")
    return path


def test_every_index_is_a_subnet_in_range() -> None:
    assert subnets.nth(0) == Network("198.18.0.0/30")
    assert subnets.nth(32767) == Network("198.19.255.252/30")
    assert subnets.nth(32768) == subnets.nth(0)


def test_the_first_address_is_the_gateway_and_the_second_the_host() -> None:
    assert subnets.ends(Network("198.18.0.4/30")) == ("198.18.0.5", "198.18.0.6")


def test_a_taken_subnet_is_passed_over() -> None:
    assert subnets.choose(0, [Network("198.18.0.0/29")]) == Network("198.18.0.8/30")
    with pytest.raises(LabError, match="no /30"):
        subnets.choose(0, [Network("198.0.0.0/8")])


def test_routes_and_addresses_count_as_used_but_the_default_route_does_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answers = {
        "route": [{"dst": "default"}, {"dst": "10.1.0.0/16"}, {"dst": "10.9.9.9"}],
        "addr": [{"addr_info": [{"local": "192.0.2.2", "prefixlen": 24}]}, {}],
    }
    monkeypatch.setattr(subnets, "call", lambda argv, **kw: json.dumps(answers[argv[3]]))
    assert [str(n) for n in subnets.used()] == ["10.1.0.0/16", "10.9.9.9/32", "192.0.2.0/24"]


def test_two_hosts_that_want_the_same_subnet_get_two(shared: Path) -> None:
    first = subnets.reserve(host(shared, "a"), "00000001")
    second = subnets.reserve(host(shared, "b"), "00008001")
    assert subnets.nth(0x00000001) == subnets.nth(0x00008001) == first
    assert not first.overlaps(second)


def test_a_host_keeps_its_subnet_until_it_is_gone(shared: Path) -> None:
    path = host(shared, "a")
    assert subnets.reserve(path, "00000001") == subnets.reserve(path, "00000001")
    path.unlink()
    assert subnets.reserve(host(shared, "b"), "00008001") == subnets.nth(1)
    assert subnets.reserved("00000001") is None


def test_forwarding_is_on_while_a_host_runs_and_then_as_before(shared: Path) -> None:
    for name, owner in (("a", "00000001"), ("b", "00000002")):
        subnets.reserve(host(shared, name), owner)
        subnets.set_running(owner, True)
    subnets.set_running("00000001", False)
    assert subnets.FORWARD.read_text() == "1\n"
    subnets.give_back("00000002")
    assert subnets.FORWARD.read_text() == "0\n"


def test_forwarding_that_was_on_stays_on(shared: Path) -> None:
    subnets.FORWARD.write_text("1\n")
    subnets.reserve(host(shared, "a"), "00000001")
    subnets.set_running("00000001", True)
    subnets.set_running("00000001", False)
    assert subnets.FORWARD.read_text() == "1\n"


def test_inotify_instances_are_enough_while_a_host_runs_and_then_as_before(shared: Path) -> None:
    subnets.reserve(host(shared, "a"), "00000001")
    subnets.set_running("00000001", True)
    assert int(subnets.INOTIFY.read_text()) == subnets.INOTIFY_LEAST
    subnets.set_running("00000001", False)
    assert subnets.INOTIFY.read_text() == "128\n"
