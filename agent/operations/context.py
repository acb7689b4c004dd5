"""What an operation gets: the job it works for, the bus, and ways to tell what it does."""

from __future__ import annotations

import shlex
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from uuid import UUID

from agent.store import Store
from agent.systemd.bus import Bus, DBusError, NoSuchUnit
from agent.systemd.machine1 import Machined
from agent.systemd.systemd1 import Systemd
from contract.events import LINE_MAX, LINES_MAX, Body, Command, Output, Progress, Step, StepState

Plan = list[tuple[str, str]]
"""(key, title) of the steps to come."""


def unit_of(job: UUID) -> str:
    """Transient unit of a job's heavy work."""
    return f"nspawnweb-{job}.service"


def scratch_of(job: UUID) -> str:
    """Image name of a job's unfinished work: hidden, and never a container's name."""
    return f".nspawnweb-{job.hex}"


@dataclass
class Context:
    """One run of one job. `attempt` above 1: an earlier run was interrupted, its traces may be there."""

    job: UUID
    store: Store
    bus: Bus
    attempt: int = 1
    cursor: str = ""
    _step: str = field(default="", init=False)
    _titles: dict[str, str] = field(default_factory=dict, init=False)
    _taken: set[str] = field(default_factory=set, init=False)

    def __post_init__(self) -> None:
        self.systemd = Systemd(self.bus)
        self.machined = Machined(self.bus)

    @property
    def unit(self) -> str:
        """Transient unit of the job's heavy work."""
        return unit_of(self.job)

    @property
    def scratch(self) -> str:
        """Image name of the job's unfinished work: hidden, and never a container's name."""
        return scratch_of(self.job)

    def announce(self, plan: Plan) -> None:
        """Know the titles of the steps to come."""
        self._titles = dict(plan)

    def emit(self, body: Body, *, cursor: str | None = None) -> None:
        self.store.append(self.job, body, cursor=cursor)

    @contextmanager
    def step(self, key: str) -> Iterator[None]:
        """A step of the plan: running, then done or failed."""
        self._step = key
        self._taken.add(key)
        self._tell(key, StepState.RUNNING)
        try:
            yield
        except BaseException:
            self._tell(key, StepState.FAILED)
            raise
        self._tell(key, StepState.DONE)

    def skip(self, key: str) -> None:
        """A planned step turned out to be needless; one that was taken, or not planned, says nothing."""
        if key in self._titles and key not in self._taken:
            self._tell(key, StepState.SKIPPED)

    def _tell(self, key: str, state: StepState) -> None:
        self.emit(Step(key=key, title=self._titles.get(key, key), state=state))

    def command(self, *argv: str) -> None:
        """Show a command as an administrator would type it; never pass a secret."""
        self.emit(Command(step=self._step, line=shlex.join(argv)[:8192]))

    def output(self, lines: Sequence[str], *, cursor: str | None = None) -> None:
        """Lines of a program, cut and batched to the contract's sizes."""
        cut = [line if len(line) <= LINE_MAX else line[:LINE_MAX] + "…" for line in lines]
        for start in range(0, len(cut), LINES_MAX):
            last = start + LINES_MAX >= len(cut)
            batch = cut[start : start + LINES_MAX]
            self.emit(Output(step=self._step, lines=batch), cursor=cursor if last else None)

    def progress(self, fraction: float | None, text: str = "") -> None:
        self.emit(Progress(step=self._step, fraction=fraction, text=text[:200]))

    async def drop_unit(self, unit: str = "") -> None:
        """End a job's transient unit, ours by default; there may be none. All that it does is scratch: kill at once."""
        unit = unit or self.unit
        try:
            await self.systemd.kill(unit, signal.SIGKILL)
        except NoSuchUnit:
            return
        except DBusError:
            pass  # loaded, but no process is left in it
        try:
            await self.systemd.stop(unit)
        except NoSuchUnit:
            return
        await self.systemd.reset_failed(unit)
