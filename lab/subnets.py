"""Which addresses a host gets: a /30 of 198.18.0.0/15 that nothing on this machine uses.

RFC 2544 sets 198.18.0.0/15 aside for networks between test devices, so it meets neither private
networks nor those that networkd hands to containers. The first address of a /30 is the outer
machine (the host's gateway), the second the host.

All labs of the machine reserve here, by a file in /run/nspawnweb-lab that names the host it stands
for. A reservation lasts until its host is purged, so a host keeps its address while it is off, and
an `unreachable` route keeps what is sent to a host that is off or disconnected on this machine.
A reservation whose host is gone is free again. Call all of this with `shared_lock` held.
"""

from __future__ import annotations

import ipaddress
import json
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from lab import files
from lab.command import call
from lab.errors import LabError
from lab.paths import SHARED

Network = ipaddress.IPv4Network
RANGE = Network("198.18.0.0/15")
FORWARD = Path("/proc/sys/net/ipv4/ip_forward")
INOTIFY = Path("/proc/sys/fs/inotify/max_user_instances")
INOTIFY_LEAST = 4096
"""Every systemd takes some, and those of all hosts and their containers count against this machine's root."""


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
    """The networks of this machine's routes and addresses (ip-route(8)), except the default route."""
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


def _file(owner: str) -> Path:
    return SHARED / "subnets" / f"{owner}.json"


def reserved(owner: str) -> Network | None:
    """The subnet that an owner holds; None when it holds none."""
    noted = files.read_json(_file(owner))
    return Network(noted["subnet"]) if noted else None


def _living() -> dict[str, dict[str, Any]]:
    """Reservations by owner; those whose host is gone are given back on the way."""
    found = {}
    for path in sorted((SHARED / "subnets").glob("*.json")):
        noted = files.read_json(path)
        if noted and Path(noted["host"]).exists():
            found[path.stem] = noted
        else:
            _give_back(path.stem)
    return found


def reserve(host: Path, owner: str) -> Network:
    """Reserve a /30 for the host whose settings are in `host`; the same one as long as it exists.

    An owner that is not running and whose subnet something else has come to use gets another.
    """
    others = [Network(noted["subnet"]) for key, noted in _living().items() if key != owner]
    mine = reserved(owner)
    taken = others + [network for network in used() if network != mine]
    subnet = choose(int(owner, 16) if mine is None else _index(mine), taken)
    if mine not in (None, subnet):
        _give_back(owner)
    noted = {"host": str(host), "subnet": str(subnet), "running": False}
    files.write_text(_file(owner), json.dumps(noted))
    call(["ip", "route", "replace", *_route(subnet)])
    return subnet


def _index(subnet: Network) -> int:
    return (int(subnet.network_address) - int(RANGE.network_address)) // 4


def _route(subnet: Network) -> list[str]:
    """The route behind the link's own: it is used only while the link is down or not there."""
    return ["unreachable", str(subnet), "metric", "4294967294"]


def _give_back(owner: str) -> None:
    subnet = reserved(owner)
    if subnet is not None:
        call(["ip", "route", "del", *_route(subnet)], check=False)
    _file(owner).unlink(missing_ok=True)


def give_back(owner: str) -> None:
    """End a reservation, and its route with it."""
    with shared_lock():
        _give_back(owner)
        _forward()


def set_running(owner: str, running: bool) -> None:
    """Note that a host runs or not: packets are forwarded while any does."""
    with shared_lock():
        noted = files.read_json(_file(owner))
        if noted is not None:
            files.write_text(_file(owner), json.dumps({**noted, "running": running}))
        _forward()


def _forward() -> None:
    """The kernel's switches are as hosts need them while one runs; with the last one each is again what it was."""
    running = any(noted["running"] for noted in _living().values())
    for switch, least in ((FORWARD, 1), (INOTIFY, INOTIFY_LEAST)):
        former = SHARED / switch.name
        if running:
            now = int(switch.read_text(encoding="ascii"))
            if not former.exists():
                files.write_text(former, f"{now}\n")
            if now < least:
                switch.write_text(f"{least}\n", encoding="ascii")
        elif former.exists():
            switch.write_text(former.read_text(encoding="ascii"), encoding="ascii")
            former.unlink()
