"""Read requirements/agent.txt: what is pinned, with which hashes, for which interpreters."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

_REQUIREMENT = re.compile(r"(?P<name>[A-Za-z0-9._-]+)==(?P<version>[^\s;]+)\s*(?:;\s*(?P<marker>.+))?")
_ELSEWHERE = re.compile(r"sys_platform\s*==\s*['\"](win32|darwin|cygwin)['\"]|platform_system\s*==\s*['\"]Windows")


@dataclass(frozen=True)
class Pin:
    """`marker` is an environment marker (PEP 508) or empty; `hashes` are sha256 in hex."""

    name: str
    version: str
    marker: str
    hashes: tuple[str, ...]

    @property
    def for_linux(self) -> bool:
        """False only for what other systems alone need. Markers on the interpreter are the host's to judge."""
        return not _ELSEWHERE.search(self.marker)

    def line(self, *, marker: bool, hashes: tuple[str, ...] | None = None) -> str:
        """A line of requirements.txt."""
        condition = f" ; {self.marker}" if marker and self.marker else ""
        digests = "".join(f" --hash=sha256:{one}" for one in (self.hashes if hashes is None else hashes))
        return f"{self.name}=={self.version}{condition}{digests}"


def read(file: Path) -> list[Pin]:
    """Raises ValueError for a line that it does not understand, or one without hashes."""
    text = re.sub(r"\\\n", " ", file.read_text())
    pins = []
    for line in text.splitlines():
        line = re.sub(r"(^|\s)#.*", "", line).strip()
        if not line:
            continue
        hashes = tuple(re.findall(r"--hash=sha256:([0-9a-f]{64})", line))
        match = _REQUIREMENT.fullmatch(re.sub(r"\s*--hash=\S+", "", line).strip())
        if match is None or not hashes:
            raise ValueError(f"{file}: cannot use this line: {line[:120]}")
        pins.append(Pin(match["name"], match["version"], (match["marker"] or "").strip(), hashes))
    return pins
