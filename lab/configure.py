"""The files that make a root one particular host, written before every boot."""

from __future__ import annotations

import uuid
from pathlib import Path

from lab import files, surroundings
from lab.records import Record

NETWORK = """[Match]
Name=host0

[Link]
MTUBytes={mtu}

[Network]
Address={address}/30
Gateway={gateway}
{servers}LinkLocalAddressing=no
IPv6AcceptRA=no
LLMNR=no
MulticastDNS=no
"""
MANAGER = "[Manager]\nDefaultEnvironment={pairs}\nDefaultTimeoutStopSec=15s\n"


def configure(root: Path, record: Record, mtu: int) -> None:
    """Name, address, name servers and the ways to packages of the host whose root is `root`."""
    etc = root / "etc"
    _identity(etc, record.name)
    servers = "".join(f"DNS={server}\n" for server in surroundings.name_servers())
    text = NETWORK.format(mtu=mtu, address=record.address, gateway=record.gateway, servers=servers)
    files.write_text(etc / "systemd/network/10-lab.network", text)
    hosts = f"127.0.0.1 localhost\n127.0.1.1 {record.name}\n{record.gateway} lab-gateway\n"
    files.write_text(etc / "hosts", hosts + surroundings.known_hosts())
    files.write_text(etc / "apt/apt.conf.d/00lab", surroundings.apt_settings())
    _variables(etc)


def _identity(etc: Path, name: str) -> None:
    """A hostname and, once, a machine id of its own: journals and DHCP leases hang on it."""
    files.write_text(etc / "hostname", f"{name}\n")
    mine = etc / "lab-machine-id"
    if not mine.exists():
        files.write_text(mine, f"{uuid.uuid4().hex}\n")
        files.write_text(etc / "machine-id", mine.read_text(encoding="ascii"), 0o444)


def _variables(etc: Path) -> None:
    """Proxies and package indexes: for logins, for services, and for pip."""
    variables = surroundings.variables()
    lines = "".join(f'{key}="{value}"\n' for key, value in variables.items())
    files.write_text(etc / "environment", lines)
    pairs = " ".join(f'"{key}={value}"' for key, value in variables.items()).replace("%", "%%")
    files.write_text(etc / "systemd/system.conf.d/lab.conf", MANAGER.format(pairs=pairs))
    own = Path("/etc/pip.conf")
    if own.exists():
        files.write_text(etc / "pip.conf", own.read_text(encoding="utf-8"))
