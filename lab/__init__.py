"""Real systemd hosts in namespaces of this machine, for development, tests and benchmarks.

    host = lab.up("alpha", release="trixie", pool="ext4", pool_size="2G")
    host.run(["machinectl", "list"])
    lab.down("alpha", purge=True)

Standard library only. See docs/lab.md.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from lab import files, lifecycle, records, subnets
from lab.errors import LabError
from lab.host import Host, of_record
from lab.paths import Place, check_name, known_names, var_folder

__all__ = ["Host", "LabError", "down", "get", "hosts", "up"]


def up(
    name: str,
    *,
    release: str = "bookworm",
    pool: str = "btrfs",
    pool_size: str = "10G",
    var: str | Path | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> Host:
    """Bring a host up and wait until its systemd says "running".

    `release` is bookworm or trixie, `pool` btrfs or ext4, `pool_size` like 512M or 10G (at least
    128M; sparse). A host that is up already is given as it is. The first host of a release waits
    about a minute for its image; `say` gets a line about such waits. Raises LabError.
    """
    place = Place(var_folder(var), check_name(name))
    return of_record(lifecycle.up(place, release, pool, pool_size, say), place.var)


def get(name: str, var: str | Path | None = None) -> Host:
    """A host by name, up or off. Raises LabError when there is none of that name."""
    place = Place(var_folder(var), check_name(name))
    record = records.load(place.record)
    if record is not None:
        return of_record(record, place.var)
    settings = files.read_json(place.settings)
    if settings is None:
        raise lifecycle.unknown(name)
    subnet = subnets.reserved(place.id)
    gateway, address = subnets.ends(subnet) if subnet else ("", "")
    return Host(
        name=name, release=settings["release"], pool=settings["pool"], address=address, gateway=gateway,
        leader=0, root=place.root, var=place.var,
    )  # fmt: skip


def hosts(var: str | Path | None = None) -> list[Host]:
    """All hosts of a lab, up or off (`Host.running` tells), by name."""
    folder = var_folder(var)
    return [get(name, folder) for name in known_names(folder)]


def down(name: str, *, purge: bool = False, var: str | Path | None = None) -> None:
    """Take a host down in good order; with `purge` at once, and its state is removed too.

    No error when it is down, or was never there. Raises LabError when something of it will not go.
    """
    lifecycle.down(Place(var_folder(var), check_name(name)), purge=purge)
