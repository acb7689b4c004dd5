"""What a machine knows about reaching packages is read from it, in the forms that it has."""

from __future__ import annotations

import pytest

from lab import surroundings

DEB822 = """# a comment
Types: deb deb-src
URIs: http://mirror.test/debian
Suites: bookworm bookworm-updates
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Enabled: no
Types: deb
URIs: http://off.test/debian
Suites: bookworm
Components: main
"""
ONE_LINE = """# deb http://off.test/debian bookworm main
deb [arch=amd64 signed-by=/usr/share/keyrings/k.gpg] http://mirror.test/debian bookworm main contrib # why
deb-src http://mirror.test/debian bookworm main
"""


def test_deb822_sources_are_read() -> None:
    key = "/usr/share/keyrings/debian-archive-keyring.gpg"
    assert surroundings._deb822(DEB822) == [
        (key, "http://mirror.test/debian", "bookworm", "main"),
        (key, "http://mirror.test/debian", "bookworm-updates", "main"),
    ]


def test_one_line_sources_are_read() -> None:
    assert surroundings._one_line(ONE_LINE) == [
        ("/usr/share/keyrings/k.gpg", "http://mirror.test/debian", "bookworm", "main contrib")
    ]


def test_mirrors_of_another_release_are_this_machines_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(surroundings, "os_release", lambda: {"ID": "debian", "VERSION_CODENAME": "bookworm"})
    entries = [*surroundings._deb822(DEB822), ("", "http://other.test/x", "stable", "main")]
    monkeypatch.setattr(surroundings, "apt_entries", lambda: entries)
    option = "[signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]"
    assert surroundings.mirror_lines("trixie") == [
        f"deb {option} http://mirror.test/debian trixie main",
        f"deb {option} http://mirror.test/debian trixie-updates main",
    ]


def test_a_machine_that_is_no_debian_leaves_the_tools_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(surroundings, "os_release", lambda: {"ID": "other"})
    assert surroundings.mirror_lines("trixie") == []


def test_name_servers_on_loopback_give_way_to_the_upstream_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = {
        "/etc/resolv.conf": "nameserver 127.0.0.53\n",
        "/run/systemd/resolve/resolv.conf": "nameserver 192.0.2.53\n",
    }
    monkeypatch.setattr(surroundings, "_read", lambda path: texts.get(path, ""))
    assert surroundings.name_servers() == ["192.0.2.53"]


def test_only_lines_about_other_machines_are_taken_from_hosts(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "127.0.0.1 localhost\n::1 ip6-localhost\nff02::1 all\n192.0.2.7 mirror mirror.test # ours\n"
    monkeypatch.setattr(surroundings, "_read", lambda path: text)
    assert surroundings.known_hosts() == "192.0.2.7 mirror mirror.test\n"


def test_proxies_are_given_in_both_spellings(monkeypatch: pytest.MonkeyPatch) -> None:
    for key in (*surroundings.PROXIES, *surroundings.PIP):
        monkeypatch.delenv(key, raising=False)
        monkeypatch.delenv(key.upper(), raising=False)
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.test:3128")
    assert surroundings.variables() == {
        "https_proxy": "http://proxy.test:3128",
        "HTTPS_PROXY": "http://proxy.test:3128",
    }
