"""A lab host with the agent on it, installed as an operator does, and a small portal that it talks to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

import lab
from contract.events import Event, Finished, Output, Started, Step
from contract.orders import Order
from tests.agent.small_portal import SmallPortal, wait_until

BOOKWORM = {"slug": "debian-bookworm", "distribution": "debian", "suite": "bookworm"}
JOBS_UNIT = "nspawnweb-agent-jobs.service"


@dataclass
class AgentHost:
    host: lab.Host
    portal: SmallPortal
    id: UUID

    def run(self, *argv: str, check: bool = True, timeout: float = 120) -> str:
        return str(self.host.run(list(argv), check=check, timeout=timeout).stdout)

    def do(self, kind: str, limit_s: float = 180, **params: Any) -> Finished:
        return self.portal.do(self.id, {"kind": kind, **params}, limit_s)

    def send(self, kind: str, **params: Any) -> Order:
        order = self.portal.order(self.id, {"kind": kind, **params})
        self.portal.publish(self.id, order)
        return order

    def end(self, order: Order, limit_s: float = 400) -> Finished:
        return self.portal.finished(self.id, order.job, limit_s)

    def events(self, order: Order) -> list[Event]:
        return self.portal.job_events(self.id, order.job)

    def attempts(self, order: Order) -> list[int]:
        return [event.body.attempt for event in self.events(order) if isinstance(event.body, Started)]

    def lines(self, order: Order) -> list[str]:
        bodies = [event.body for event in self.events(order)]
        return [line for body in bodies if isinstance(body, Output) for line in body.lines]

    def steps(self, order: Order) -> list[tuple[str, str]]:
        bodies = [event.body for event in self.events(order)]
        return [(body.key, body.state.value) for body in bodies if isinstance(body, Step)]

    def until_line(self, order: Order, text: str, limit_s: float = 300) -> None:
        wait_until(lambda: any(text in line for line in self.lines(order)), limit_s, f"output with {text!r}")

    def traces(self) -> list[str]:
        """Everything on the host that belongs to an unfinished job, by kind and name."""
        scratch = self.run("find", "/var/lib/machines", "-mindepth", "1", "-maxdepth", "1", "-name", ".nspawnweb-*")
        units = self.run("systemctl", "list-units", "--all", "--plain", "--no-legend", "nspawnweb-????????-*.service")
        mounts = [line for line in self.run("cat", "/proc/1/mountinfo").splitlines() if ".nspawnweb-" in line]
        return scratch.split() + units.splitlines() + mounts

    def traces_of(self, name: str) -> list[str]:
        """Everything on the host that bears a container's name."""
        places = ["/etc/systemd", "/run/systemd/system.control", "/var/lib/nspawnweb-agent"]
        script = (
            'find /var/lib/machines -maxdepth 1 -name "*$0*" -not -name "*.lck"; find "$@" -name "*$0*" 2>/dev/null'
        )
        found = self.run("sh", "-c", script + "; true", name, *places).split()
        return found + [line for line in self.run("machinectl", "--no-legend").splitlines() if line.startswith(name)]

    def nothing_half_made(self) -> None:
        wait_until(lambda: not self.traces(), 30, f"no traces of dead jobs ({self.traces()})")


def install(host: lab.Host, portal: SmallPortal) -> AgentHost:
    """By the line that an operator pastes."""
    before = set(portal.hosts)
    host.run(portal.install_line(portal.token()), timeout=600)
    (made,) = set(portal.hosts) - before
    return AgentHost(host, portal, made)
