"""The record of what was made for a running host.

It is written to the disk *before* each thing is made, so at whatever point a lab process dies,
the next one finds in the record all that may have to go. Undoing is idempotent (lab/undo.py), so
a recorded thing that was never made does no harm.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from lab import files
from lab.processes import Known, alive

Resource = dict[str, Any]


def boot_id() -> str:
    """The id of this boot of the machine: pids and mounts of another boot mean nothing."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


@dataclass
class Record:
    """One host's record: `phase` is "starting" until it has booted, then "running"."""

    path: Path
    name: str
    release: str
    pool: str
    address: str
    gateway: str
    root: str
    link: str
    phase: str = "starting"
    supervisor: Known | None = None
    leader: Known | None = None
    boot: str = field(default_factory=boot_id)
    resources: list[Resource] = field(default_factory=list)

    def save(self) -> None:
        """Put the record on the disk, whole or not at all."""
        plain = {k: v for k, v in asdict(self).items() if k != "path"}
        files.write_text(self.path, json.dumps(plain, indent=1) + "\n", 0o600)

    def will_make(self, kind: str, **what: Any) -> None:
        """Note, before it is made, a thing that must be undone later."""
        self.resources.append({"kind": kind, **what})
        self.save()

    def has_undone(self, resource: Resource) -> None:
        """Strike out a thing that is gone."""
        self.resources.remove(resource)
        self.save()

    @property
    def groups(self) -> list[Path]:
        """The host's control groups, one of each hierarchy."""
        return [Path(r["path"]) for r in self.resources if r["kind"] == "cgroup"]

    @property
    def leader_pid(self) -> int:
        """The outer pid of the host's process 1; 0 when it has none."""
        return self.leader.pid if self.leader else 0

    @property
    def runs(self) -> bool:
        """Whether the host came up and its process 1 is still there."""
        same_boot = self.boot == boot_id() and self.phase == "running"
        return same_boot and self.leader is not None and alive(self.leader)


def load(path: Path) -> Record | None:
    """The record in `path`; None when there is none that can be read."""
    plain = files.read_json(path)
    if plain is None:
        return None
    for key in ("supervisor", "leader"):
        plain[key] = Known(**plain[key]) if plain.get(key) else None
    return Record(path=path, **plain)
