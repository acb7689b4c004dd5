"""Taking a host down by its record: newest first, each step harmless when there is nothing to do."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

from lab import cgroups, network, storage, subnets
from lab.errors import LabError
from lab.processes import send, wait_gone
from lab.records import Record, Resource, boot_id

STEPS: dict[str, Callable[[Resource], None]] = {
    "subnet": lambda what: subnets.set_running(what["owner"], False),
    "nft": lambda what: network.remove_rules(what["table"]),
    "link": lambda what: network.remove_link(what["name"]),
    "cgroup": lambda what: cgroups.remove(Path(what["path"])),
    "mount": lambda what: storage.unmount(Path(what["path"])),
}


def kill(record: Record) -> None:
    """End the host at once, as a power cut does: its process 1, and with it all in it."""
    if record.boot != boot_id():
        return
    cgroups.thaw_quietly(record.groups)
    for process in (record.leader, record.supervisor):
        if process is not None and send(process, signal.SIGKILL) and not wait_gone(process, 30):
            raise LabError(f"process {process.pid} of host {record.name} does not die")


def undo(record: Record) -> None:
    """Remove everything on record, and then the record.

    A step that fails does not keep the others from being done; LabError tells of all that failed,
    and they stay on record for the next `down`.
    """
    kill(record)
    failures = []
    for resource in reversed(list(record.resources)):
        try:
            STEPS[resource["kind"]](resource)
            record.has_undone(resource)
        except LabError as error:
            failures.append(str(error))
    if failures:
        raise LabError(
            f"host {record.name} is not wholly down",
            why="\n".join(failures),
            todo="end what still uses it (fuser -vm PATH), then run `python3 -m lab down` again",
        )
    record.path.unlink(missing_ok=True)
