"""Write the agent's wheel: a zip file with its sources and some metadata (PyPA binary distribution format).

Made by hand, since a portal's environment has no build tools and needs none: same sources, same bytes.
"""

from __future__ import annotations

import base64
import hashlib
import zipfile
from collections.abc import Iterator
from pathlib import Path

from agent import VERSION

ROOT = Path(__file__).resolve().parents[2]
NAME = f"nspawnweb_agent-{VERSION}-py3-none-any.whl"
_INFO = f"nspawnweb_agent-{VERSION}.dist-info"
_EPOCH = (1980, 1, 1, 0, 0, 0)
_PACKAGES = ("agent", "contract")
_SUFFIXES = {".py", ".service", ".sh"}

_WHEEL = "Wheel-Version: 1.0\nGenerator: nspawnweb\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
_ENTRY_POINTS = "[console_scripts]\nnspawnweb-agent = agent.cli:main\n"


def sources() -> Iterator[Path]:
    """Files of the wheel, in a fixed order."""
    for package in _PACKAGES:
        for file in sorted((ROOT / package).rglob("*")):
            if file.is_file() and file.suffix in _SUFFIXES:
                yield file


def _metadata(requirements: list[str]) -> str:
    head = [
        "Metadata-Version: 2.1",
        "Name: nspawnweb-agent",
        f"Version: {VERSION}",
        "Summary: Host agent of nspawnweb",
        "Requires-Python: >=3.11",
    ]
    return "\n".join([*head, *(f"Requires-Dist: {one}" for one in requirements)]) + "\n"


def build(folder: Path, requirements: list[str]) -> Path:
    """Write the wheel into `folder`; `requirements` are its dependencies, pinned."""
    contents = {file.relative_to(ROOT).as_posix(): file.read_bytes() for file in sources()}
    contents[f"{_INFO}/METADATA"] = _metadata(requirements).encode()
    contents[f"{_INFO}/WHEEL"] = _WHEEL.encode()
    contents[f"{_INFO}/entry_points.txt"] = _ENTRY_POINTS.encode()
    record = "".join(f"{name},sha256={_digest(data)},{len(data)}\n" for name, data in contents.items())
    contents[f"{_INFO}/RECORD"] = (record + f"{_INFO}/RECORD,,\n").encode()
    target = folder / NAME
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in contents.items():
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.external_attr = 0o100644 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, data)
    return target


def _digest(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
