"""A host's filesystems: its root over the image, and the pool under /var/lib/machines.

The root is an overlay (Documentation/filesystems/overlayfs in Linux): the image below, the host's
own changes above. Where `<var>` cannot carry an overlay, the root is a full copy. The pool is a
real btrfs (quota on) or ext4 in a sparse file of its own, so disk-full tests can fill it.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from lab.command import call
from lab.errors import LabError
from lab.paths import Place
from lab.records import Record

POOLS = ("btrfs", "ext4")
UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
SMALLEST = 128 * 2**20


def check_pool(kind: str) -> str:
    """Give `kind` back when a pool can be of it, else raise LabError."""
    if kind not in POOLS:
        raise LabError(f"a pool cannot be {kind!r}", todo=f"choose one of {POOLS}")
    return kind


def size_in_bytes(text: str) -> int:
    """Bytes of a size like 512M or 10G (powers of 1024). Raises LabError below 128M."""
    match = re.fullmatch(r"(\d+)([KMGT]?)", text.strip().upper())
    size = int(match[1]) * UNITS[match[2]] if match else 0
    if size < SMALLEST:
        raise LabError(f"{text!r} is no pool size", todo="give at least 128M, like 512M or 10G")
    return size


def is_mounted(point: Path) -> bool:
    """Whether something is mounted exactly at `point`."""
    escaped = str(point).replace(" ", r"\040")
    mounts = Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()
    return any(line.split()[1] == escaped for line in mounts)


def open_state(record: Record, place: Place) -> None:
    """Bind the host's folder to itself, shared, so that what is unmounted below it is unmounted everywhere.

    The mount namespace of another host that boots meanwhile is a copy with our mounts in it; without
    this it would keep our pool's loop device busy for as long as it lives (mount_namespaces(7)).
    """
    record.will_make("mount", path=str(place.state))
    call(["mount", "--bind", "--make-shared", str(place.state), str(place.state)])


def mount_root(record: Record, place: Place, image: Path) -> None:
    """Put the host's root together at `place.root`."""
    upper, work = place.state / "upper", place.state / "work"
    if (place.state / "copied").exists():
        return
    for folder in (upper, work, place.root):
        folder.mkdir(mode=0o755, parents=True, exist_ok=True)
    record.will_make("mount", path=str(place.root))
    options = f"lowerdir={image},upperdir={upper},workdir={work}"
    try:
        call(["mount", "-t", "overlay", "-o", options, place.machine, str(place.root)])
    except LabError:
        _copy_root(place, image)


def _copy_root(place: Place, image: Path) -> None:
    """Copy the whole image: slower, for a `<var>` that is itself on an overlay."""
    shutil.rmtree(place.root)
    call(["cp", "-a", "--reflink=auto", str(image), str(place.root)], timeout=600)
    (place.state / "copied").touch()


def make_pool(place: Place, kind: str, size: int) -> None:
    """Make the pool's sparse file and filesystem, once in a host's life; whole or not at all."""
    file = place.state / "pool.img"
    if file.exists():
        return
    fresh = file.with_suffix(".new")
    with fresh.open("wb") as sparse:
        sparse.truncate(size)
    if kind == "btrfs":
        # --mixed keeps data and metadata together, which small filesystems need (mkfs.btrfs(8))
        call(["mkfs.btrfs", "-q", "-f", *(["--mixed"] if size < 2**30 else []), str(fresh)])
    else:
        call(["mkfs.ext4", "-q", "-F", "-m", "0", "-E", "lazy_itable_init=1", str(fresh)])
    fresh.rename(file)


def mount_pool(record: Record, place: Place, kind: str) -> None:
    """Mount the pool. The loop device is freed by the kernel with the mount (mount(8)).

    Without barriers a synchronous write costs 0.3 ms and not 29 (measured, btrfs), and a bootstrap half
    the time; the price is that a crash of the outer machine, not of the host, may damage the pool.
    """
    place.pool.mkdir(parents=True, exist_ok=True)
    record.will_make("mount", path=str(place.pool))
    file = place.state / "pool.img"
    fast = "nobarrier" if kind == "btrfs" else "barrier=0"
    call(["mount", "-t", kind, "-o", f"loop,discard,{fast}", str(file), str(place.pool)])
    place.pool.chmod(0o700)
    if kind == "btrfs":
        call(["btrfs", "quota", "enable", str(place.pool)])


def unmount(point: Path) -> None:
    """Unmount what is at `point` and below it, if anything is. Raises LabError when it is busy."""
    for _ in range(8):
        if not is_mounted(point):
            return
        call(["umount", "--recursive", str(point)], timeout=60)


def purge(place: Place) -> None:
    """Remove all state of a host that is down."""
    for point in (place.root, place.pool, place.state):
        if is_mounted(point):
            raise LabError(f"{point} is still mounted", todo="run `python3 -m lab down` first")
    if place.state.exists():
        shutil.rmtree(place.state)
