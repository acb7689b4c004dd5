"""Which addresses a host gets: a /30 of 198.18.0.0/15 that nothing on this machine uses.

RFC 2544 sets 198.18.0.0/15 aside for networks between test devices, so it meets neither private
networks nor those that networkd hands to containers. The first address of a /30 is the outer
machine (the host's gateway), the second the host.

All labs of the machine reserve here, by a file in /run/nspawnweb-lab that names the record it
stands for; a reservation whose record is gone is free again. Call these with `shared_lock` held.
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

from lab import files
from lab.command import call
from lab.errors import LabError
from lab.paths import SHARED

Network = ipaddress.IPv4Network
RANGE = Network("198.18.0.0/15")
FORWARD = Path("/proc/sys/net/ipv4/ip_forward")


def shared_lock() -> AbstractContextManager[None]:
    """The lock over all that labs of this machine share."""
    return files.locked(SHARED / "lock", timeout=60)


def nth(index: int) -> Network:
    """The /30 with that index, counted round and round."""
    count = RANGE.num_addresses // 4
    return Network((int(RANGE.network_address) + 4 * (index % count), 30))


def ends(subnet: Network) -> tuple[str, str]:
    """The gateway's address and the host's."""
    return str(subnet[1]), str(subnet[2])


def used() -> list[Network]:
    """The networks of this machine's routes and addresses (ip-route(8)), the default one left out."""
    routes = json.loads(call(["ip", "-4", "-j", "route", "show", "table", "all"]) or "[]")
    found = [r["dst"] for r in routes if r.get("dst", "default") != "default"]
    links = json.loads(call(["ip", "-4", "-j", "addr"]) or "[]")
    found += [f"{a['local']}/{a['prefixlen']}" for link in links for a in link.get("addr_info", [])]
    return [Network(n, strict=False) for n in found if not n.startswith("0.0.0.0/0")]


def choose(preferred: int, taken: list[Network]) -> Network:
    """The first free /30 from `preferred` on. Raises LabError when 4,096 in a row are taken."""
    for index in range(preferred, preferred + 4096):
        if not any(nth(index).overlaps(other) for other in taken):
            return nth(index)
    raise LabError(
        f"no /30 of {RANGE} is free",
        todo="look at `ip route`: something on this machine routes that range",
    )


def reservations() -> Iterator[tuple[Path, Network]]:
    """Live reservations; stale ones are removed on the way."""
    for path in sorted((SHARED / "subnets").glob("*.json")):
        noted = files.read_json(path) or {}
        if Path(noted.get("record", "/nonexistent")).exists():
            yield path, Network(noted["subnet"])
        else:
            path.unlink(missing_ok=True)


def reserve(record: Path, owner: str, preferred: int) -> Network:
    """Reserve a /30 for a record that is about to be written, and switch forwarding on.

    `record` must exist already. The former value of net.ipv4.ip_forward is noted by the first.
    """
    held = list(reservations())
    taken = used() + [net for path, net in held if path.stem != owner]
    subnet = choose(preferred, taken)
    if not held and not (SHARED / "ip_forward").exists():
        files.write_text(SHARED / "ip_forward", FORWARD.read_text(encoding="ascii"))
    noted = {"record": str(record), "subnet": str(subnet)}
    files.write_text(SHARED / "subnets" / f"{owner}.json", json.dumps(noted))
    FORWARD.write_text("1\n", encoding="ascii")
    return subnet


def release(owner: str) -> None:
    """Give a reservation back; with the last one, ip_forward gets its former value again."""
    (SHARED / "subnets" / f"{owner}.json").unlink(missing_ok=True)
    former = SHARED / "ip_forward"
    if not list(reservations()) and former.exists():
        FORWARD.write_text(former.read_text(encoding="ascii"), encoding="ascii")
        former.unlink()
