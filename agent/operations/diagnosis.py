"""From the output of mmdebstrap, debootstrap and apt: how far it is, or why it failed, in plain words."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import httpx

from agent.errors import AgentError
from contract.releases import ReleaseSpec

_PROBE_S = 10.0


class BootstrapFailed(AgentError):
    """The bootstrap tool failed; `code` says of what."""

    code = "bootstrap_failed"
    hint = "The job's output shows what the tool said last."


@dataclass(frozen=True)
class _Cause:
    code: str
    pattern: re.Pattern[str]
    what: str
    hint: str


def _cause(code: str, pattern: str, what: str, hint: str) -> _Cause:
    return _Cause(code, re.compile(pattern, re.IGNORECASE), what, hint)


_CAUSES = (
    _cause(
        "disk_full",
        r"no space left on device|enough free space|disk quota exceeded",
        "The host's disk is full.",
        "Free space under /var/lib/machines on the host, or choose another host, then retry.",
    ),
    _cause(
        "signature_bad",
        r"NO_PUBKEY|EXPKEYSIG|REVKEYSIG|BADSIG|is not signed|unknown key|signatures? (couldn't|were|was) |"
        r"invalid release signature|sub-process /usr/bin/sqv returned an error",
        "The mirror's signature could not be verified.",
        "Choose an official mirror, or bring the keyring package on the host up to date.",
    ),
    _cause(
        "mirror_unreachable",
        r"could not resolve|temporary failure resolving|could not connect|connection refused|unable to connect|"
        r"connection timed out|connection failed|no route to host|network is unreachable|something wicked happened|"
        r"couldn't download|cannot initiate the connection|50[0-9] +(bad gateway|service|gateway)",
        "The mirror cannot be reached from the host.",
        "Check the mirror's address and the host's network, then retry.",
    ),
    _cause(
        "suite_unknown",
        r"does not have a release file|failed getting release file|no such script|invalid release file|"
        r"unable to find expected entry|(in)?release'? .*404|404 +not found.*(in)?release",
        "The mirror does not have suite {suite}.",
        "Write the suite's codename as the mirror has it, for example trixie or noble.",
    ),
    _cause(
        "package_unknown",
        r"unable to locate package|has no installation candidate|couldn't find (any package|these debs)|"
        r"package '?[^ ]+'? is not available|virtual packages like",
        "A package does not exist in suite {suite}.",
        "Check the spelling and the components (main, universe, …), or take the package out.",
    ),
)

_PACKAGE = re.compile(
    r"(?:unable to locate package|package '|couldn't find these debs:) *([a-z0-9][a-z0-9+. -]*)", re.I
)
_ERROR = re.compile(
    r"^(E:|Err:|fatal|dpkg: error|mmdebstrap: |debootstrap: )|^  (could|cannot|unable|temporary)", re.IGNORECASE
)
_TELLING = re.compile(r"^(E|W|Err|error|fatal|mmdebstrap|dpkg)\b|error|fail|cannot|could not|unable", re.IGNORECASE)


def explain(release: ReleaseSpec, lines: Sequence[str], *, only: str = "") -> BootstrapFailed:
    """The error that fits the tool's last words; `only` names its code where that is known."""
    text = "\n".join(lines)
    telling = _last(lines, _ERROR) or _last(lines, _TELLING) or list(lines)[-8:]
    why = "\n".join(line[:300] for line in telling)
    for cause in _CAUSES:
        if only in ("", cause.code) and cause.pattern.search(text):
            what = cause.what.format(suite=release.suite)
            named = _PACKAGE.search(text) if cause.code == "package_unknown" else None
            if named:
                what = f"Package {named.group(1).strip()} does not exist in suite {release.suite}."
            return BootstrapFailed(what, why=why, hint=cause.hint, code=cause.code)
    return BootstrapFailed(f"{release.tool.value} could not build {release.slug}.", why=why)


async def explain_debootstrap(release: ReleaseSpec, lines: Sequence[str], url: str) -> BootstrapFailed:
    """The same for debootstrap, which says no more than "failed getting release file": ask the mirror itself."""
    error = explain(release, lines)
    if error.code != "suite_unknown":
        return error
    try:
        async with httpx.AsyncClient(timeout=_PROBE_S, follow_redirects=True) as client:
            status = (await client.head(url)).status_code
    except httpx.HTTPError as problem:
        return explain(release, [*lines, f"E: could not connect: {problem}"], only="mirror_unreachable")
    return explain(release, [*lines, f"E: {url} answered {status}"], only="suite_unknown")


def _last(lines: Sequence[str], pattern: re.Pattern[str]) -> list[str]:
    return [line for line in lines if pattern.search(line)][-8:]


class BuildProgress:
    """Reads the tool's output and knows roughly how far it is: 0..1, never falling."""

    _NEW = re.compile(r"(\d+) upgraded, (\d+) newly installed")
    _GET = re.compile(r"^Get:(\d+) \S+ \S+ \S+ (\S+)")
    _PHASES = (
        (re.compile(r"running apt-get update|Retrieving InRelease"), 0.02, "Reading package lists"),
        (re.compile(r"downloading packages with apt|Resolving dependencies"), 0.08, "Downloading packages"),
        (re.compile(r"extracting archives|Extracting "), 0.30, "Extracting packages"),
        (re.compile(r"installing essential packages|Installing core packages"), 0.38, "Installing the core"),
        (re.compile(r"installing remaining packages|Unpacking the base system"), 0.55, "Installing packages"),
        (re.compile(r"cleaning package lists|Base system installed"), 0.97, "Cleaning up"),
    )
    _SPANS = {"Get": (0.08, 0.30), "Unpacking": (0.55, 0.72), "Setting up": (0.72, 0.97)}

    def __init__(self) -> None:
        self.fraction = 0.0
        self._text = ""
        self._expected = 0
        self._done = {"Unpacking": 0, "Setting up": 0}

    def feed(self, line: str) -> tuple[float, str] | None:
        """(fraction, what it does) if the line moved it by a per cent or to another phase."""
        before = (round(self.fraction, 2), self._text)
        if match := self._NEW.search(line):
            self._expected = int(match.group(2))
            self._done = dict.fromkeys(self._done, 0)
        for pattern, fraction, text in self._PHASES:
            if pattern.search(line):
                self.fraction, self._text = max(self.fraction, fraction), text
        if match := self._GET.match(line):
            self._move("Get", int(match.group(1)), f"Downloading {match.group(2)}")
        for verb in self._done:
            if line.startswith(verb + " "):
                self._done[verb] += 1
                self._move(verb, self._done[verb], line.removesuffix(" ..."))
        after = (round(self.fraction, 2), self._text)
        return None if after == before else (self.fraction, self._text)

    def _move(self, verb: str, count: int, text: str) -> None:
        low, high = self._SPANS[verb]
        if self.fraction < low - 0.03 or not self._expected:
            return
        moved = low + (high - low) * min(count / self._expected, 1)
        if moved > self.fraction + 0.01:
            self.fraction, self._text = moved, text[:120]
