"""The commands that creating will run, as the agent will show them, before anything is done.

The agent decides what it runs (agent.operations.recipe); a test holds the two together.
"""

from __future__ import annotations

import shlex

from contract.names import RESERVED_PREFIX
from contract.releases import BuildTool, Distribution, ReleaseSpec, Variant
from machines.models import BaseImage, Host
from machines.services.containers import CreateSpec

_KEYRINGS = {
    Distribution.DEBIAN: "/usr/share/keyrings/debian-archive-keyring.gpg",
    Distribution.UBUNTU: "/usr/share/keyrings/ubuntu-archive-keyring.gpg",
}
_RESOLVED_INSIDE_SYSTEMD = {"buster", "bullseye", "bionic", "focal", "jammy"}


def create_commands(spec: CreateSpec, host: Host) -> list[str]:
    """Shell lines, in order, each as an administrator could type it. Raises ValueError for a release that is broken."""
    name = spec.name or "NAME"
    release = spec.release.spec()
    built = BaseImage.objects.filter(host=host, slug=release.slug).order_by("-built_at").first()
    base = built.name if built else f"{RESERVED_PREFIX}base-{release.slug.replace('.', '-')}"
    lines = [] if built else [*_build(release, base)]
    lines += [
        _line("machinectl", "clone", base, name),
        _line("editor", f"/etc/systemd/nspawn/{name}.nspawn"),
        _line("editor", f"/etc/systemd/system/systemd-nspawn@{name}.service.d/50-nspawnweb.conf"),
    ]
    if spec.autostart:
        lines.append(_line("machinectl", "enable", name))
    if spec.start:
        lines.append(_line("systemctl", "start", f"systemd-nspawn@{name}.service"))
    return lines


def _build(release: ReleaseSpec, base: str) -> list[str]:
    target = f"/var/lib/machines/{base}"
    return [
        _debootstrap(release, target) if release.tool is BuildTool.DEBOOTSTRAP else _mmdebstrap(release, target),
        _line("machinectl", "read-only", base, "true"),
    ]


def _mmdebstrap(release: ReleaseSpec, target: str) -> str:
    argv = ["mmdebstrap", f"--variant={release.variant.value}", f"--components={','.join(release.components)}"]
    argv += [f"--keyring={_KEYRINGS[release.distribution]}", *_include(release), "--", release.suite, target]
    return _line(*argv, *([release.mirror] if release.mirror else []))


def _debootstrap(release: ReleaseSpec, target: str) -> str:
    argv = ["debootstrap", "--force-check-gpg", f"--keyring={_KEYRINGS[release.distribution]}"]
    if release.variant is Variant.MINBASE:
        argv.append("--variant=minbase")
    argv += [f"--components={','.join(release.components)}", *_include(release), "--", release.suite, target]
    return _line(*argv, *([release.mirror] if release.mirror else []))


def _include(release: ReleaseSpec) -> list[str]:
    """What every container needs (systemd as PID 1, a bus, the network), and what the release adds."""
    needed = ["systemd-sysv", "dbus", "libpam-systemd", "ca-certificates", "iproute2", "login", "passwd"]
    if release.suite not in _RESOLVED_INSIDE_SYSTEMD:
        needed.append("systemd-resolved")
    return [f"--include={','.join([*needed, *(name for name in release.packages if name not in needed)])}"]


def _line(*argv: str) -> str:
    return shlex.join(argv)
