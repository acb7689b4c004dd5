"""Files of a tree that no container ever ran from: preparing a base image, giving a clone its own identity.

Only for such trees: a container that ran could have left symbolic links in the way (CVE-2026-91151). Even so
nothing here follows a link in the last component.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from uuid import uuid4

from agent.errors import AgentError
from agent.operations import recipe
from contract.releases import ReleaseSpec

_HOST_KEYS_UNIT = """\
[Unit]
Description=Make SSH host keys of this container's own
ConditionPathExists=!/etc/ssh/ssh_host_ed25519_key
Before=ssh.service ssh.socket

[Service]
Type=oneshot
ExecStart=/usr/bin/ssh-keygen -A

[Install]
WantedBy=multi-user.target
"""
HOST_KEYS_SERVICE = "nspawnweb-ssh-host-keys.service"


def replace(file: Path, text: str, mode: int = 0o644) -> None:
    """Write a file anew, whatever stood there."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.unlink(missing_ok=True)
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
    with os.fdopen(descriptor, "w") as stream:
        os.fchmod(descriptor, mode)
        stream.write(text)


def prepare_base(tree: Path, release: ReleaseSpec) -> None:
    """Take away what clones must not share, and what the bootstrap left behind."""
    _check_tree(tree)
    replace(tree / "etc/machine-id", "")
    (tree / "var/lib/dbus/machine-id").unlink(missing_ok=True)
    for key in (tree / "etc/ssh").glob("ssh_host_*"):
        key.unlink()
    if (tree / "usr/sbin/sshd").exists():
        replace(tree / "etc/systemd/system" / HOST_KEYS_SERVICE, _HOST_KEYS_UNIT)
    _write_sources(tree, release)
    _clean(tree)
    replace(tree / "etc/hostname", "localhost\n")
    resolv = tree / "etc/resolv.conf"
    resolv.unlink(missing_ok=True)
    resolv.symlink_to("../run/systemd/resolve/stub-resolv.conf")


def _check_tree(tree: Path) -> None:
    if not (tree / "usr/lib/systemd/systemd").exists() and not (tree / "lib/systemd/systemd").exists():
        raise AgentError("The bootstrapped tree has no systemd.", code="bootstrap_failed")


def _write_sources(tree: Path, release: ReleaseSpec) -> None:
    apt = tree / "etc/apt"
    for old in (apt / "sources.list.d").glob("*"):
        old.unlink()
    for options in (apt / "apt.conf.d/99mmdebstrap", tree / "etc/dpkg/dpkg.cfg.d/99mmdebstrap"):
        options.unlink(missing_ok=True)
    replace(apt / "sources.list", "".join(f"{line}\n" for line in recipe.sources(release)))


def _clean(tree: Path) -> None:
    """Package files, package lists and logs of the build."""
    for pattern in ("var/cache/apt/archives/*.deb", "var/cache/apt/*.bin", "var/log/*.log", "var/log/apt/*"):
        for file in tree.glob(pattern):
            file.unlink()
    for entry in (tree / "var/lib/apt/lists").glob("*"):
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()
    shutil.rmtree(tree / "debootstrap", ignore_errors=True)


def services(tree: Path) -> list[str]:
    """Units that a base image enables."""
    wanted = ["systemd-networkd.service", "systemd-resolved.service"]
    if (tree / "etc/systemd/system" / HOST_KEYS_SERVICE).exists():
        wanted.append(HOST_KEYS_SERVICE)
    return wanted


def personalise(tree: Path, name: str, password_hash: str | None) -> None:
    """A clone's own machine id, host name and root password; without a hash the password is locked."""
    replace(tree / "etc/machine-id", uuid4().hex + "\n", 0o444)
    replace(tree / "etc/hostname", name + "\n")
    replace(tree / "etc/hosts", f"127.0.0.1 localhost\n127.0.1.1 {name}\n::1 localhost ip6-localhost ip6-loopback\n")
    _set_root_password(tree / "etc/shadow", password_hash or "*")


def _set_root_password(shadow: Path, value: str) -> None:
    """Field 2 of root's line in shadow(5); owner and mode stay."""
    descriptor = os.open(shadow, os.O_RDWR | os.O_NOFOLLOW)
    with os.fdopen(descriptor, "r+") as stream:
        rows = [line.split(":") for line in stream.read().splitlines()]
        if not any(row[0] == "root" for row in rows):
            raise AgentError("The base image has no root account in /etc/shadow.", code="image_broken")
        for row in rows:
            if row[0] == "root":
                row[1] = value
        stream.seek(0)
        stream.write("".join(":".join(row) + "\n" for row in rows))
        stream.truncate()
