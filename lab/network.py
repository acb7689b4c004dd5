"""A host's link to the outer machine, and its way out.

systemd-nspawn makes the veth pair and the kernel removes it with the host's network namespace; the
address and the nft table on the outer side are ours. The names do not begin with `ve-`, so a
networkd on the outer machine leaves them alone.
"""

from __future__ import annotations

import json
import subprocess
import time

from lab.command import call, tool
from lab.errors import LabError
from lab.processes import Known, alive
from lab.subnets import RANGE, Network

RULES = """
table ip {table} {{
 chain out {{
  type nat hook postrouting priority srcnat; policy accept;
  ip saddr {subnet} ip daddr != {range} masquerade
 }}
 chain through {{
  type filter hook forward priority filter; policy accept;
  iifname "{link}" tcp flags syn tcp option maxseg size set rt mtu
  oifname "{link}" tcp flags syn tcp option maxseg size set rt mtu
 }}
}}
"""


def outer_mtu() -> int:
    """The MTU in bytes of the link with the default route; 1500 when there is none."""
    routes = json.loads(call(["ip", "-4", "-j", "route", "show", "default"]) or "[]")
    for route in routes:
        links = json.loads(call(["ip", "-j", "link", "show", "dev", route["dev"]]))
        return int(links[0]["mtu"])
    return 1500


def add_rules(table: str, link: str, subnet: Network) -> None:
    """Masquerade what leaves the lab. Hosts of labs see each other's own addresses."""
    rules = RULES.format(table=table, link=link, subnet=subnet, range=RANGE)
    done = subprocess.run([tool("nft"), "-f", "-"], input=rules, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise LabError(f"the nft table {table} could not be added", why=done.stderr)


def remove_rules(table: str) -> None:
    """Remove the host's nft table, if it is there. Raises LabError when nft says no."""
    if f"table ip {table}\n" in call(["nft", "list", "tables", "ip"]) + "\n":
        call(["nft", "delete", "table", "ip", table])


def link_exists(link: str) -> bool:
    """Whether this machine has that interface."""
    return bool(call(["ip", "-j", "link", "show", "dev", link], check=False).strip())


def remove_link(link: str) -> None:
    """Remove the outer end of a veth pair (and so the pair), if it is there."""
    if link_exists(link):
        call(["ip", "link", "delete", "dev", link], check=False)


def set_link(link: str, up: bool) -> None:
    """Bring the outer end up or down: down is a pulled cable, the host sees its carrier go."""
    call(["ip", "link", "set", "dev", link, "up" if up else "down"])


def join(link: str, gateway: str, mtu: int, supervisor: Known, timeout: float = 20) -> None:
    """Give the outer end its address as soon as systemd-nspawn has made it.

    Raises LabError when the supervisor ends first, or after `timeout` seconds.
    """
    deadline = time.monotonic() + timeout
    while not link_exists(link):
        if not alive(supervisor) or time.monotonic() >= deadline:
            raise LabError("systemd-nspawn ended or hung before it made the host's network link")
        time.sleep(0.02)
    call(["ip", "address", "replace", f"{gateway}/30", "dev", link])
    call(["ip", "link", "set", "dev", link, "mtu", str(mtu), "up"])
