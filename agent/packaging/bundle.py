"""`python -m agent.packaging.bundle DEST`: everything that a host installs the agent from, without any index.

DEST gets wheels for CPython 3.11 to 3.13, our wheel, requirements.txt with their hashes, SHA256SUMS, install.sh, and
bundle.tar with all of it. A second run with unchanged lock and sources does nothing.
"""

from __future__ import annotations

import hashlib
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from agent.packaging import lock, wheel
from agent.packaging.lock import Pin

PYTHONS = ("3.11", "3.12", "3.13")
LOCK = wheel.ROOT / "requirements" / "agent.txt"
INSTALLER = Path(__file__).with_name("install.sh")
STAMP = ".made-from"
_GLIBC = ("1", "2010", "2014", "_2_17", "_2_28", "_2_34")
"""manylinux tags that Debian 12 (glibc 2.36) and newer run."""


def architectures() -> list[str]:
    """x86_64, and this machine's if it is another."""
    return sorted({"x86_64", platform.machine()})


def wheels_key() -> str:
    """Changes when the wheels of others would."""
    recipe = " ".join((*PYTHONS, *architectures(), *_GLIBC)).encode()
    return hashlib.sha256(LOCK.read_bytes() + recipe).hexdigest()


def key() -> str:
    """Changes when the bundle would. Begins with the wheels' key."""
    digest = hashlib.sha256()
    for file in (*wheel.sources(), INSTALLER):
        digest.update(file.relative_to(wheel.ROOT).as_posix().encode() + b"\0" + file.read_bytes())
    return f"{wheels_key()} {digest.hexdigest()}"


def make(dest: Path) -> bool:
    """Fill `dest`; False if it was up to date. It is replaced in one step: never half a bundle."""
    wanted = key()
    stamp = dest / STAMP
    if stamp.exists() and stamp.read_text() == wanted and (dest / "bundle.tar").exists():
        return False
    dest.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=dest.parent, prefix=f".{dest.name}-") as scratch:
        fresh = Path(scratch) / "bundle"
        fresh.mkdir()
        _fill(fresh, dest)
        (fresh / STAMP).write_text(wanted)
        if dest.exists():
            dest.rename(Path(scratch) / "old")
        fresh.rename(dest)
    return True


def _fill(folder: Path, former: Path) -> None:
    pins = [pin for pin in lock.read(LOCK) if pin.for_linux]
    if not _reuse(folder, former):
        _download(folder, pins)
    ours = wheel.build(folder, [f"{pin.name}=={pin.version}" for pin in pins if not pin.marker])
    lines = [pin.line(marker=True, hashes=_hashes(folder, pin)) for pin in pins]
    lines.append(f"nspawnweb-agent=={ours.name.split('-')[1]} --hash=sha256:{_sha256(ours)}")
    (folder / "requirements.txt").write_text("\n".join(lines) + "\n")
    shutil.copyfile(INSTALLER, folder / "install.sh")
    members = sorted(file for file in folder.iterdir() if not file.name.startswith("."))
    (folder / "SHA256SUMS").write_text("".join(f"{_sha256(file)}  {file.name}\n" for file in members))
    _tar(folder / "bundle.tar", [*members, folder / "SHA256SUMS"])


def _reuse(folder: Path, former: Path) -> bool:
    """Only our own sources changed: take the wheels of the former bundle, if each is still what the lock names."""
    stamp = former / STAMP
    if not stamp.exists() or stamp.read_text().split()[0] != wheels_key():
        return False
    known = {digest for pin in lock.read(LOCK) for digest in pin.hashes}
    wheels = [file for file in former.glob("*.whl") if file.name != wheel.NAME]
    if not all(_sha256(file) in known for file in wheels):
        return False
    for file in wheels:
        shutil.copyfile(file, folder / file.name)
    return True


def _download(folder: Path, pins: list[Pin]) -> None:
    """Wheels for every interpreter and architecture."""
    requirements = folder / ".wanted.txt"
    requirements.write_text("\n".join(pin.line(marker=False) for pin in pins) + "\n")
    jobs = [(version, arch) for version in PYTHONS for arch in architectures()]
    with ThreadPoolExecutor(len(jobs)) as pool:
        for outcome in [pool.submit(_pip, folder, requirements, *job) for job in jobs]:
            outcome.result()
    requirements.unlink()


def _pip(folder: Path, requirements: Path, version: str, arch: str) -> None:
    """Raises SystemExit with pip's words if a wheel is missing."""
    platforms = [f"--platform=manylinux{tag}_{arch}" for tag in _GLIBC]
    with tempfile.TemporaryDirectory(dir=folder.parent) as place:
        argv = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        argv += ["--only-binary=:all:", "--require-hashes", f"--python-version={version}", "--implementation=cp"]
        argv += [*platforms, "--platform=any", f"--dest={place}", f"--requirement={requirements}"]
        done = subprocess.run(argv, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"The agent's wheels for Python {version} on {arch} cannot be had:\n{done.stderr[-2000:]}")
        for file in Path(place).iterdir():
            file.replace(folder / file.name)


def _hashes(folder: Path, pin: Pin) -> tuple[str, ...]:
    """Of the wheels that are in the bundle; each was in the lock."""
    name = pin.name.replace("-", "_").replace(".", "_").lower()
    files = [file for file in folder.glob("*.whl") if file.name.lower().replace(".", "_").startswith(f"{name}-")]
    return tuple(sorted({_sha256(file) for file in files} & set(pin.hashes)))


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _tar(target: Path, members: Iterable[Path]) -> None:
    """The same members give the same bytes."""
    with tarfile.open(target, "w", format=tarfile.USTAR_FORMAT) as archive:
        for file in members:
            entry = tarfile.TarInfo(file.name)
            entry.size, entry.mode = file.stat().st_size, 0o644
            with file.open("rb") as stream:
                archive.addfile(entry, stream)


def main() -> int:
    if len(sys.argv) != 2:
        print("usage: python -m agent.packaging.bundle DEST", file=sys.stderr)
        return 2
    dest = Path(sys.argv[1]).resolve()
    made = make(dest)
    size = (dest / "bundle.tar").stat().st_size
    print(f"agent bundle {'made' if made else 'is up to date'}: {dest / 'bundle.tar'}, {size // 2**20} MiB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
