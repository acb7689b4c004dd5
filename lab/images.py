"""Images of hosts: built once with mmdebstrap, then only read.

An image lies in `<var>/lab/images/<release>-<hash>`, the hash made from all that goes into it, so
another recipe, mirror or certificate authority makes another image. NSPAWNWEB_LAB_IMAGES names
another folder than `<var>/lab/images`, for labs that share their images.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from lab import files, surroundings
from lab.command import call, tool
from lab.errors import LabError

RELEASES = ("bookworm", "trixie")
PACKAGES = (
    "systemd-sysv", "dbus", "libpam-systemd", "udev", "systemd-container", "systemd-resolved",
    "iproute2", "nftables", "openssh-server", "polkitd", "sudo", "ca-certificates", "mmdebstrap",
    "debootstrap", "btrfs-progs", "zstd", "python3", "python3-venv", "procps",
    "debian-archive-keyring", "curl", "iputils-ping", "e2fsprogs",
)  # fmt: skip
ENABLED = ("systemd-networkd", "systemd-resolved", "ssh", "nftables")
#: Sysctls and modules are the outer machine's too; timers would hold apt's lock by chance.
MASKED = (
    "systemd-sysctl.service", "systemd-modules-load.service", "apt-daily.timer",
    "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "e2scrub_all.timer", "fstrim.timer",
    "systemd-networkd-wait-online.service",
)  # fmt: skip
#: Only the network devices of the host's own namespace: the rest belongs to the outer machine.
TRIGGER = """[Service]
ExecStart=
ExecStart=-udevadm trigger --type=devices --action=add --subsystem-match=net
"""
INIT = Path(__file__).with_name("lab-init")
Say = Callable[[str], None]


def check_release(release: str) -> str:
    """Give `release` back when a host can be of it, else raise LabError."""
    if release not in RELEASES:
        raise LabError(f"there is no lab host of {release!r}", todo=f"choose one of {RELEASES}")
    return release


def recipe(release: str) -> str:
    """All that decides what is in the image, as text."""
    parts = [release, *PACKAGES, *ENABLED, *MASKED, TRIGGER, INIT.read_text(encoding="utf-8")]
    parts += surroundings.mirror_lines(release)
    parts += [path.read_text(encoding="utf-8") for path in surroundings.authorities()]
    return "\n".join(parts)


def image_path(var: Path, release: str) -> Path:
    """Where the image of that release is, or will be."""
    digest = hashlib.sha256(recipe(release).encode()).hexdigest()[:12]
    folder = Path(os.environ.get("NSPAWNWEB_LAB_IMAGES") or var / "lab" / "images").resolve()
    return folder / f"{check_release(release)}-{digest}"


def ensure(var: Path, release: str, say: Say = lambda line: None) -> Path:
    """The image of a release, built now if need be (about a minute); one builder at a time."""
    path = image_path(var, release)
    if path.is_dir():
        return path
    with files.locked(path.with_name(f"{release}.lock"), timeout=1800):
        if not path.is_dir():
            _build(path, release, say)
    return path


def _build(path: Path, release: str, say: Say) -> None:
    """Build beside `path` and rename: what a killed builder left is removed first."""
    _install_builder(say)
    half = path.with_name(f".{release}.half")
    _remove_half(half)
    say(f"building the {release} image (about a minute)")
    try:
        _bootstrap(half, release)
        _prepare(half)
        half.rename(path)
    except BaseException:
        _remove_half(half)
        raise


def _remove_half(half: Path) -> None:
    """Remove a half-built image, after anything that is still mounted in it."""
    mounts = Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()
    inside = [m.split()[1] for m in mounts if m.split()[1].startswith(f"{half}/")]
    for point in sorted(inside, reverse=True):
        call(["umount", "--lazy", point], check=False)
    if half.exists():
        shutil.rmtree(half)


def _install_builder(say: Say) -> None:
    """Install what builds and boots hosts where apt can and it is missing."""
    wanted = {
        "mmdebstrap": "mmdebstrap", "systemd-nspawn": "systemd-container", "nft": "nftables",
        "mkfs.btrfs": "btrfs-progs",
    }  # fmt: skip
    missing = [package for name, package in wanted.items() if not _is_installed(name)]
    if not missing:
        return
    say(f"installing {', '.join(missing)}")
    call(["apt-get", "update", "-qq"], timeout=600)
    call(["apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing], timeout=900)


def _is_installed(name: str) -> bool:
    try:
        return bool(tool(name))
    except LabError:
        return False


def _bootstrap(half: Path, release: str) -> None:
    log = half.with_name(f"{release}.log")
    argv = [tool("mmdebstrap"), "--variant=minbase", f"--include={','.join(PACKAGES)}"]
    argv += [release, str(half), *surroundings.mirror_lines(release)]
    with log.open("w", encoding="utf-8") as output:
        done = subprocess.run(argv, stdout=output, stderr=output, stdin=subprocess.DEVNULL, check=False)
    if done.returncode != 0:
        raise LabError(
            f"mmdebstrap of {release} failed",
            why="\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-15:]),
            todo=f"read {log}; check that `apt-get update` works on this machine",
        )


def _prepare(half: Path) -> None:
    """What is the same for every host of the image."""
    shutil.copy(INIT, half / "usr/local/sbin/lab-init")
    (half / "usr/local/sbin/lab-init").chmod(0o755)
    call(["systemctl", f"--root={half}", "enable", *ENABLED])
    call(["systemctl", f"--root={half}", "mask", *MASKED])
    files.write_text(half / "etc/systemd/system/systemd-udev-trigger.service.d/lab.conf", TRIGGER)
    (half / "etc/resolv.conf").unlink(missing_ok=True)
    (half / "etc/resolv.conf").symlink_to("../run/systemd/resolve/stub-resolv.conf")
    for key in (half / "etc/ssh").glob("ssh_host_*"):
        key.unlink()
    for path in surroundings.authorities():
        shutil.copy(path, half / "usr/local/share/ca-certificates")
    call(["chroot", str(half), "update-ca-certificates"])
