"""How this machine reaches packages, read at run time, so that a host inside reaches them too.

Nothing here names a mirror: apt's sources, apt's transport settings, proxy variables, pip's
system-wide configuration, name servers and extra certificate authorities are this machine's own.
"""

from __future__ import annotations

import ipaddress
import os
import re
from contextlib import suppress
from pathlib import Path

from lab.command import call

AUTHORITIES = Path("/usr/local/share/ca-certificates")
PROXIES = ("http_proxy", "https_proxy", "ftp_proxy", "no_proxy")
PIP = ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL")
APT_KEYS = re.compile(r"(?i)Acquire::(https?|ftp|Retries|Check-[\w-]+|ForceIPv[46])\b")


def _read(path: str) -> str:
    with suppress(OSError):
        return Path(path).read_text(encoding="utf-8", errors="replace")
    return ""


def os_release() -> dict[str, str]:
    """This machine's os-release(5)."""
    pairs = (line.partition("=") for line in _read("/etc/os-release").splitlines())
    return {key: value.strip('"') for key, _, value in pairs if key}


def _deb822(text: str) -> list[tuple[str, str, str, str]]:
    """(signer, URI, suite, components) of every `deb` of a .sources file (sources.list(5))."""
    found = []
    for stanza in re.split(r"\n\s*\n", re.sub(r"(?m)^#.*\n?", "", text)):
        pairs = re.findall(r"(?m)^([\w-]+):[ \t]*(.*(?:\n[ \t]+.*)*)", stanza)
        fields = {key.lower(): " ".join(value.split()) for key, value in pairs}
        if "deb" not in fields.get("types", "").split() or fields.get("enabled") == "no":
            continue
        for uri in fields.get("uris", "").split():
            for suite in fields.get("suites", "").split():
                parts = fields.get("components", "")
                found.append((fields.get("signed-by", ""), uri, suite, parts))
    return found


def _one_line(text: str) -> list[tuple[str, str, str, str]]:
    """The same of a .list file."""
    found = []
    pattern = r"(?m)^\s*deb\s+(?:\[([^\]]*)\]\s+)?(\S+)\s+(\S+)\s+([^#\n]*)"
    for options, uri, suite, parts in re.findall(pattern, text):
        signer = re.search(r"signed-by=(\S+)", options)
        found.append((signer[1] if signer else "", uri, suite, parts.strip()))
    return found


def apt_entries() -> list[tuple[str, str, str, str]]:
    """(signer, URI, suite, components) of all of this machine's package sources."""
    found = _one_line(_read("/etc/apt/sources.list"))
    for path in sorted(Path("/etc/apt/sources.list.d").glob("*")):
        if path.suffix == ".list":
            found += _one_line(_read(str(path)))
        if path.suffix == ".sources":
            found += _deb822(_read(str(path)))
    return found


def mirror_lines(release: str) -> list[str]:
    """sources.list(5) lines for a Debian release, from this machine's own Debian sources.

    Empty when this machine is no Debian release with a name: then the tool's default holds.
    """
    system = os_release()
    own = system.get("VERSION_CODENAME", "")
    if system.get("ID") != "debian" or not own:
        return []
    lines = []
    for signer, uri, suite, parts in apt_entries():
        if suite in (own, f"{own}-updates", f"{own}-security") and not uri.startswith("file:"):
            option = f"[signed-by={signer}] " if signer.startswith("/usr/share/keyrings/") else ""
            lines.append(f"deb {option}{uri} {suite.replace(own, release, 1)} {parts or 'main'}")
    return lines


def apt_settings() -> str:
    """This machine's apt.conf(5) settings for transport, proxies and date checks."""
    dump = call(["apt-config", "dump"], check=False).splitlines()
    kept = [line for line in dump if APT_KEYS.match(line) and '""' not in line]
    return "".join(f"{line}\n" for line in kept)


def variables() -> dict[str, str]:
    """Proxy and package-index variables of this process, in both spellings where both are usual."""
    found = {key: os.environ[key] for key in PIP if key in os.environ}
    for key in PROXIES:
        value = os.environ.get(key) or os.environ.get(key.upper())
        if value:
            found[key] = found[key.upper()] = value
    return found


def name_servers() -> list[str]:
    """The IPv4 name servers that a host can reach: those of resolv.conf(5) not on loopback.

    When this machine asks its own systemd-resolved, its upstream servers are taken.
    """
    for path in ("/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"):
        listed = re.findall(r"(?m)^\s*nameserver\s+([\d.]+)\s*$", _read(path))
        reachable = [s for s in listed if not ipaddress.ip_address(s).is_loopback]
        if reachable:
            return reachable
    return []


def known_hosts() -> str:
    """Lines of this machine's hosts(5) that are about other machines."""
    lines = [line.split("#")[0].split() for line in _read("/etc/hosts").splitlines()]
    return "".join(f"{' '.join(words)}\n" for words in lines if len(words) > 1 and _is_other(words[0]))


def _is_other(address: str) -> bool:
    with suppress(ValueError):
        ip = ipaddress.ip_address(address.split("%")[0])
        return not (ip.is_loopback or ip.is_multicast or ip.is_link_local)
    return False


def authorities() -> list[Path]:
    """The certificate files that the administrator of this machine added."""
    return sorted(AUTHORITIES.rglob("*.crt"))
