"""A lab host in the hands of a test or a benchmark."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab import cgroups, inside, lifecycle, network, records
from lab.errors import LabError
from lab.paths import Place
from lab.records import Record


@dataclass
class Host:
    """A real systemd host in namespaces of this machine.

    `address` and `gateway` are IPv4 addresses: the host's own, and the outer machine as the host
    sees it. `leader` is the outer pid of the host's process 1, 0 when the host is off. `root` is
    its root filesystem seen from outside, to look at; /var/lib/machines is not in it.
    """

    name: str
    release: str
    pool: str
    address: str
    gateway: str
    leader: int
    root: Path
    var: Path

    @property
    def place(self) -> Place:
        """Its files and machine-wide names."""
        return Place(self.var, self.name)

    @property
    def running(self) -> bool:
        """Whether it is up now (also when frozen or disconnected)."""
        record = records.load(self.place.record)
        return record is not None and record.runs

    def entering(self, argv: Sequence[str], *, on_death: str = "KILL") -> list[str]:
        """The argv, for the outer machine, that runs `argv` in the host (see lab/inside.py)."""
        record = self._record()
        group = cgroups.unified(record.groups)
        return inside.argv(record.leader_pid, argv, group=group, on_death=on_death)

    def popen(self, argv: Sequence[str], **kw: Any) -> subprocess.Popen[Any]:
        """Start a command in the host, as root in `/`; `kw` as for subprocess.Popen.

        `env` is added to a clean environment. Ending the Popen (terminate, kill) sends the
        command SIGTERM. The command freezes and dies with the host, but it is in no unit of the
        host's systemd: use systemd-run in the host for what shall be.
        """
        env = inside.environment(kw.pop("env", None))
        return subprocess.Popen(self.entering(argv, on_death="TERM"), env=env, **kw)

    def run(
        self,
        argv: Sequence[str],
        *,
        input: str | None = None,
        check: bool = True,
        timeout: float = 60,
        env: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in the host and wait up to `timeout` seconds for it.

        Raises LabError with its standard error when it fails and `check` is set, and when the time
        is up (the command is killed then).
        """
        line = " ".join(argv)
        source: dict[str, Any] = {"stdin": subprocess.DEVNULL} if input is None else {"input": input}
        try:
            done = subprocess.run(
                self.entering(argv), capture_output=True, text=True,
                errors="replace", timeout=timeout, env=inside.environment(env), check=False,
                **source,
            )  # fmt: skip
        except subprocess.TimeoutExpired as error:
            raise LabError(f"`{line}` in {self.name} took longer than {timeout:g} s") from error
        if check and done.returncode != 0:
            why = done.stderr or done.stdout
            raise LabError(f"`{line}` in {self.name} ended with code {done.returncode}", why=why)
        return done

    def disconnect(self) -> None:
        """Pull the host's network cable: it loses its carrier, and nobody reaches it."""
        network.set_link(self._record().link, False)

    def reconnect(self) -> None:
        """Put the cable back. The host has its address and route again within about a second."""
        network.set_link(self._record().link, True)

    def freeze(self) -> None:
        """Stop every process of the host where it stands: it answers nothing, its links stay."""
        cgroups.freeze(self._record().groups, True)

    def thaw(self) -> None:
        """Let a frozen host go on."""
        cgroups.freeze(self._record().groups, False)

    def power_off(self) -> None:
        """Shut the host down in good order; `start` boots it again with all its state."""
        lifecycle.down(self.place)
        self.leader = 0

    def crash(self) -> None:
        """End the whole host with SIGKILL, as a power cut.

        What it wrote stays, also what it had not synced: the outer kernel still has that.
        """
        lifecycle.down(self.place, cut=True)
        self.leader = 0

    def start(self) -> None:
        """Boot the host after power_off, crash, or a poweroff from inside; thaw it when frozen."""
        if self.running:
            self.thaw()
        self._take(lifecycle.start_again(self.place))

    def _take(self, record: Record) -> None:
        self.address, self.gateway = record.address, record.gateway
        self.leader = record.leader_pid

    def _record(self) -> Record:
        record = records.load(self.place.record)
        if record is None or not record.runs:
            raise LabError(f"host {self.name} is not up", todo="start it: Host.start() or `lab up`")
        return record


def of_record(record: Record, var: Path) -> Host:
    """The host that a record is about."""
    leader = record.leader_pid if record.runs else 0
    return Host(
        name=record.name, release=record.release, pool=record.pool, address=record.address,
        gateway=record.gateway, leader=leader, root=Path(record.root), var=var,
    )  # fmt: skip
