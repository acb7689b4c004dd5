"""Up and down of a host: the order of steps, the locks, and what is left after a crash."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

from lab import boot, cgroups, configure, files, images, network, records, storage, subnets, undo
from lab.errors import LabError
from lab.paths import Place, check_name, known_names
from lab.processes import send, wait_gone
from lab.records import Record

Say = Callable[[str], None]
#: Seconds that a host may take from the start of its supervisor until systemd says "running".
BOOT_LIMIT = 90.0
POWER_OFF_LIMIT = 60.0


def up(place: Place, release: str, pool: str, pool_size: str, say: Say) -> Record:
    """Bring a host up, or find it up already; leftovers of dead runs are removed first.

    Raises LabError when the host exists with another release or pool, or does not come up.
    """
    _check(place, release, pool, pool_size)
    sweep(place.var, but=place.name)
    image = images.ensure(place.var, release, say)
    with files.locked(place.lock):
        record = records.load(place.record)
        if record is not None and record.runs:
            _settings(place, release, pool, pool_size)
            return record
        if record is not None:
            undo.undo(record)
        settings = _settings(place, release, pool, pool_size, image)
        return _boot(place, settings)


def _check(place: Place, release: str, pool: str, pool_size: str) -> None:
    if os.geteuid() != 0:
        raise LabError("a lab needs root", todo="run it as root")
    check_name(place.name)
    images.check_release(release)
    storage.check_pool(pool)
    storage.size_in_bytes(pool_size)


def _settings(place: Place, release: str, pool: str, pool_size: str, image: Path | None = None) -> dict[str, str]:
    """What the host was made with; written at its first `up`, binding ever after."""
    wanted = {"release": release, "pool": pool, "pool_size": pool_size}
    found = files.read_json(place.settings)
    if found is None or not Path(found["image"]).is_dir():
        _forget(place)
        found = {**wanted, "image": str(image)}
        files.write_text(place.settings, json.dumps(found, indent=1) + "\n")
    differs = [f"{key} is {found[key]}" for key, value in wanted.items() if found[key] != value]
    if differs:
        raise LabError(
            f"host {place.name} exists already, and its {', its '.join(differs)}",
            todo=f"run `python3 -m lab down --purge {place.name}` first, or choose another name",
        )
    return found


def _boot(place: Place, settings: dict[str, str]) -> Record:
    """Make everything that a host needs, and start it. On failure nothing of it stays."""
    record = _new_record(place, settings)
    try:
        mtu = network.outer_mtu()
        _make(record, place, settings, mtu)
        deadline = time.monotonic() + BOOT_LIMIT
        supervisor = boot.launch(record, place)
        record.leader = boot.find_leader(supervisor, deadline)
        record.save()
        network.join(place.link, record.gateway, mtu, supervisor)
        boot.await_running(record.leader, place.console, deadline)
        record.phase = "running"
        record.save()
    except BaseException:
        with contextlib.suppress(LabError):
            undo.undo(record)
        raise
    return record


def _new_record(place: Place, settings: dict[str, str]) -> Record:
    """A record on the disk, with the host's own subnet and packets forwarded for it."""
    with subnets.shared_lock():
        subnet = subnets.reserve(place.settings, place.id)
    gateway, address = subnets.ends(subnet)
    record = Record(
        path=place.record, name=place.name, release=settings["release"], pool=settings["pool"],
        address=address, gateway=gateway, root=str(place.root), link=place.link,
    )  # fmt: skip
    record.will_make("subnet", owner=place.id)
    subnets.set_running(place.id, True)
    return record


def _make(record: Record, place: Place, settings: dict[str, str], mtu: int) -> None:
    """Filesystems, files and rules of a host, each on record before it is made."""
    storage.open_state(record, place)
    storage.mount_root(record, place, Path(settings["image"]))
    storage.make_pool(place, settings["pool"], storage.size_in_bytes(settings["pool_size"]))
    storage.mount_pool(record, place, settings["pool"])
    configure.configure(place.root, record, mtu)
    record.will_make("nft", table=place.table)
    network.remove_rules(place.table)
    subnet = subnets.Network(f"{record.address}/30", strict=False)
    network.add_rules(place.table, place.link, subnet)


def _forget(place: Place) -> None:
    """Remove all state of a host that is down, and give its address back."""
    storage.purge(place)
    subnets.give_back(place.id)


def start_again(place: Place) -> Record:
    """Boot a host that is off, with what it was made with. Raises LabError for an unknown one."""
    settings = files.read_json(place.settings)
    if settings is None:
        raise unknown(place.name)
    return up(place, settings["release"], settings["pool"], settings["pool_size"], lambda line: None)


def unknown(name: str) -> LabError:
    """The error for a host that there is not."""
    return LabError(f"there is no lab host {name!r}", todo="see `python3 -m lab list`")


def down(place: Place, *, purge: bool = False, cut: bool = False) -> None:
    """Take a host down: in good order, or with `cut` as a power cut does. `purge` its state too."""
    check_name(place.name)
    with files.locked(place.lock):
        record = records.load(place.record)
        if record is not None:
            if record.runs and not cut and not purge:
                _power_off(record)
            undo.undo(record)
        if purge:
            _forget(place)
            place.console.unlink(missing_ok=True)


def _power_off(record: Record) -> None:
    """Ask the host's systemd to power off (systemd(1), SIGRTMIN+4); a power cut after 60 s."""
    cgroups.thaw_quietly(record.groups)
    if record.leader is not None and send(record.leader, signal.SIGRTMIN + 4):
        wait_gone(record.leader, POWER_OFF_LIMIT)
    if record.supervisor is not None:
        wait_gone(record.supervisor, 10)


def sweep(var: Path, *, but: str = "") -> None:
    """Remove what dead runs left: records whose host does not run and that nobody works on."""
    for name in known_names(var):
        place = Place(var, name)
        if name == but or not place.record.exists():
            continue
        with contextlib.suppress(LabError), files.locked(place.lock, timeout=0):
            record = records.load(place.record)
            if record is not None and not record.runs:
                undo.undo(record)
