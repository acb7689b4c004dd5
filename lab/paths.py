"""Where a lab keeps its things, and what it calls them.

Everything of one lab lies under `<var>/lab`. Names that the whole machine shares (interfaces,
nft tables, cgroups) carry eight hex digits made from the path of `<var>` and the host's name, so
labs of different clones never meet.
"""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path

from lab.errors import LabError

NAME = re.compile(r"[a-z](?:[a-z0-9-]{0,30}[a-z0-9])?")
#: What all labs of this machine share: subnet reservations and former kernel switches.
SHARED = Path("/run/nspawnweb-lab")


def check_name(name: str) -> str:
    """Give `name` back when it can be a host's name, else raise LabError."""
    if not NAME.fullmatch(name):
        raise LabError(
            f"{name!r} cannot be the name of a lab host",
            todo="use 1 to 32 small letters, digits and hyphens, starting with a letter",
        )
    return name


def var_folder(var: str | Path | None = None) -> Path:
    """The absolute `<var>`: the argument, else NSPAWNWEB_VAR, else `./var`."""
    return Path(var or os.environ.get("NSPAWNWEB_VAR") or "var").resolve()


@dataclass(frozen=True)
class Place:
    """The files and the machine-wide names of one host of one lab."""

    var: Path
    name: str

    @property
    def id(self) -> str:
        """Eight hex digits, stable for this var and name."""
        return hashlib.sha256(f"{self.var}\0{self.name}".encode()).hexdigest()[:8]

    @property
    def link(self) -> str:
        """The outer end of the host's veth pair: 11 characters (the kernel allows 15)."""
        return f"lab{self.id}"

    @property
    def machine(self) -> str:
        """The name that systemd-nspawn knows the host by; also its scope and cgroup."""
        return f"nspawnweb-lab-{self.id}"

    @property
    def table(self) -> str:
        """The nft table, family ip, with this host's rules."""
        return f"nspawnweb_lab_{self.id}"

    @property
    def record(self) -> Path:
        """What has been made for the running host, for whoever tears it down."""
        return self.var / "lab" / "run" / f"{self.name}.json"

    @property
    def lock(self) -> Path:
        """Held while the host is brought up or down."""
        return self.var / "lab" / "run" / f"{self.name}.lock"

    @property
    def console(self) -> Path:
        """Everything that the host wrote to its console, newest boot only."""
        return self.var / "lab" / "run" / f"{self.name}.console"

    @property
    def state(self) -> Path:
        """What outlives `down`: settings, changed files, storage pool."""
        return self.var / "lab" / "hosts" / self.name

    @property
    def settings(self) -> Path:
        """Release, pool and subnet that the host was made with."""
        return self.state / "host.json"

    @property
    def root(self) -> Path:
        """The host's root filesystem as seen from outside."""
        return self.state / "root"

    @property
    def pool(self) -> Path:
        """The host's /var/lib/machines as seen from outside."""
        return self.state / "machines"


def known_names(var: Path) -> list[str]:
    """Names of all hosts of a lab that have state or a record, sorted."""
    states = {p.parent.name for p in (var / "lab" / "hosts").glob("*/host.json")}
    records = {p.stem for p in (var / "lab" / "run").glob("*.json")}
    return sorted(n for n in states | records if NAME.fullmatch(n))
