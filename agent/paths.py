"""Where the agent keeps things on a host. Orders never carry a path; only these are used."""

from __future__ import annotations

import os
from pathlib import Path

MACHINES = Path("/var/lib/machines")
NSPAWN_SETTINGS = Path("/etc/systemd/nspawn")
UNITS = Path("/etc/systemd/system")
UNIT_CONTROL = Path("/etc/systemd/system.control")
MACHINES_WANTS = UNITS / "machines.target.wants"
AUTOSTART_LINK = "systemd-nspawn@{name}.service"


def etc_dir() -> Path:
    """Enrolment: config.json, keys and certificates (0700)."""
    return Path(os.environ.get("NSPAWNWEB_AGENT_ETC", "/etc/nspawnweb-agent"))


def state_dir() -> Path:
    """What must survive a reboot: job journal, outbox, records of machines and base images."""
    return Path(os.environ.get("NSPAWNWEB_AGENT_STATE", "/var/lib/nspawnweb-agent"))


def run_dir() -> Path:
    """What must not survive a reboot: locks and wake-up sockets."""
    return Path(os.environ.get("NSPAWNWEB_AGENT_RUN", "/run/nspawnweb-agent"))


def store_path() -> Path:
    return state_dir() / "agent.db"


def unit_name(machine: str) -> str:
    """The template instance that boots a machine (systemd-nspawn@.service)."""
    return f"systemd-nspawn@{machine}.service"
