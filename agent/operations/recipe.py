"""From a release to the argument list that bootstraps it, and the sources that its apt will use."""

from __future__ import annotations

import platform
from pathlib import Path

from agent.errors import AgentError
from contract.releases import BuildTool, Distribution, ReleaseSpec, Variant

_KEYRINGS = {
    Distribution.DEBIAN: Path("/usr/share/keyrings/debian-archive-keyring.gpg"),
    Distribution.UBUNTU: Path("/usr/share/keyrings/ubuntu-archive-keyring.gpg"),
}
_KEYRING_PACKAGE = {Distribution.DEBIAN: "debian-archive-keyring", Distribution.UBUNTU: "ubuntu-keyring"}

_NEEDED = ("systemd-sysv", "dbus", "libpam-systemd", "ca-certificates", "iproute2", "login", "passwd")
"""systemd as PID 1, a bus for shells and for systemctl -M, user sessions, TLS, tools for the network, logins."""

_RESOLVED_INSIDE_SYSTEMD = {"buster", "bullseye", "bionic", "focal", "jammy"}
"""Suites whose systemd package still holds systemd-resolved."""

_ROLLING = {"sid", "unstable", "testing", "experimental"}
_PORTS = {"aarch64", "armv7l", "ppc64le", "riscv64", "s390x"}
"""Architectures that Ubuntu serves from ports.ubuntu.com."""


class KeyringMissing(AgentError):
    code = "keyring_missing"


def keyring(release: ReleaseSpec) -> Path:
    """The keyring that verifies the release's archive. Raises KeyringMissing: nothing is built unverified."""
    file = _KEYRINGS[release.distribution]
    if not file.exists():
        package = _KEYRING_PACKAGE[release.distribution]
        raise KeyringMissing(
            f"This host has no keys to verify {release.distribution} with.",
            why=f"{file} does not exist.",
            hint=f"Install it on the host: apt-get install {package}",
        )
    return file


def packages(release: ReleaseSpec) -> list[str]:
    """What goes in beyond the variant: what a container needs, then what the release asks for."""
    needed = list(_NEEDED)
    if release.suite not in _RESOLVED_INSIDE_SYSTEMD:
        needed.append("systemd-resolved")
    return needed + [name for name in release.packages if name not in needed]


def _mirrors(release: ReleaseSpec) -> tuple[str, str]:
    """(archive, security archive); the latter is empty where the mirror was chosen: it may not have one."""
    if release.mirror:
        return release.mirror, ""
    if release.distribution is Distribution.DEBIAN:
        return f"http://deb.{release.distribution}.org/debian", f"http://deb.{release.distribution}.org/debian-security"
    if platform.machine() in _PORTS:
        return "http://ports.ubuntu.com/ubuntu-ports", "http://ports.ubuntu.com/ubuntu-ports"
    return "http://archive.ubuntu.com/ubuntu", "http://security.ubuntu.com/ubuntu"


def sources(release: ReleaseSpec) -> list[str]:
    """Lines of sources.list(5), each bound to its keyring."""
    archive, security = _mirrors(release)
    suites = [(archive, release.suite)]
    if security and release.suite not in _ROLLING:
        suites += [(archive, f"{release.suite}-updates"), (security, f"{release.suite}-security")]
    signed = f"[signed-by={_KEYRINGS[release.distribution]}]"
    components = " ".join(release.components)
    return [f"deb {signed} {mirror} {suite} {components}" for mirror, suite in suites]


def release_file(release: ReleaseSpec) -> str:
    """Where the mirror describes the suite; a mirror without it does not have the suite."""
    return f"{_mirrors(release)[0].rstrip('/')}/dists/{release.suite}/Release"


def argv(release: ReleaseSpec, target: Path) -> list[str]:
    """The program and its arguments that fill `target`."""
    keyring(release)
    if release.tool is BuildTool.DEBOOTSTRAP:
        return _debootstrap(release, target)
    return _mmdebstrap(release, target)


def _mmdebstrap(release: ReleaseSpec, target: Path) -> list[str]:
    return [
        "mmdebstrap",
        "--mode=root",
        "--format=directory",
        "--verbose",
        "--skip=check/signed-by",  # the sources below say it themselves
        f"--variant={release.variant.value}",
        f"--components={','.join(release.components)}",
        f"--include={','.join(packages(release))}",
        "--dpkgopt=force-unsafe-io",  # a tree cut off is thrown away; one that is whole is synced before it is stored
        '--aptopt=Acquire::Retries "1"',
        '--aptopt=Acquire::http::Timeout "20"',
        '--aptopt=Acquire::https::Timeout "20"',
        "--",
        release.suite,
        str(target),
        *sources(release),
    ]


def _debootstrap(release: ReleaseSpec, target: Path) -> list[str]:
    command = ["debootstrap", "--force-check-gpg", f"--keyring={keyring(release)}"]
    if release.variant is Variant.MINBASE:
        command.append("--variant=minbase")
    command += [f"--components={','.join(release.components)}", f"--include={','.join(packages(release))}"]
    # It knows no "--"; the contract lets a suite begin with a letter only, and the rest is ours.
    command += [release.suite, str(target), _mirrors(release)[0]]
    if not Path("/usr/share/debootstrap/scripts", release.suite).exists():
        # A suite newer than the tool: "gutsy" is what every Ubuntu, "sid" what every Debian since is a link to.
        command.append("gutsy" if release.distribution is Distribution.UBUNTU else "sid")
    return command
