"""Addresses of this machine, from /proc alone: nothing is run and nothing is asked of the network."""

from __future__ import annotations

import ipaddress
import re
import socket
from pathlib import Path

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_FIB = Path("/proc/net/fib_trie")
_IF_INET6 = Path("/proc/net/if_inet6")
_LOCAL_V4 = re.compile(r"\|-- (\S+)\n\s+/32 host LOCAL")


def local_addresses() -> set[Address]:
    """Every address that this machine answers on, without IPv6 link-local ones (they need a zone to be used)."""
    found: set[Address] = {ipaddress.ip_address("127.0.0.1"), ipaddress.ip_address("::1")}
    if _FIB.exists():
        found |= {ipaddress.ip_address(text) for text in _LOCAL_V4.findall(_FIB.read_text())}
    if _IF_INET6.exists():
        rows = (line.split()[0] for line in _IF_INET6.read_text().splitlines() if line)
        found |= {ipaddress.IPv6Address(int(row, 16)) for row in rows}
    return {address for address in found if not address.is_link_local}


def primary_address() -> str:
    """The address that other machines most likely reach: that of the default route, else any but loopback.

    Connecting a datagram socket sends nothing; it only makes the kernel choose a source address (ip(7)).
    """
    for family, target in ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1")):
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            try:
                probe.connect((target, 9))
            except OSError:
                continue
            address = ipaddress.ip_address(probe.getsockname()[0])
            if not address.is_loopback and not address.is_link_local:
                return str(address)
    others = sorted(str(address) for address in local_addresses() if not address.is_loopback)
    return others[0] if others else "127.0.0.1"
