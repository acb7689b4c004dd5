"""Rules of names, each with a message that says what is wrong and what would be right."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, StringConstraints

CONTAINER_NAME_MAX = 48
"""systemd takes 64 characters for a machine; the rest is kept for unit names and scratch copies of ours."""

_CONTAINER = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?")
_PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.-]+")
_SUITE = re.compile(r"[a-z][a-z0-9-]{1,30}")
_MIRROR = re.compile(r"https?://[A-Za-z0-9.-]+(?::[0-9]{1,5})?(?:/[A-Za-z0-9._~/-]*)?")
_SHA512_CRYPT = r"6\$(?:rounds=[0-9]{4,9}\$)?[./A-Za-z0-9]{1,16}\$[./A-Za-z0-9]{86}"
_YESCRYPT = r"y\$[./A-Za-z0-9$]{1,200}"
_CRYPT = re.compile(rf"\$(?:{_SHA512_CRYPT}|{_YESCRYPT})")
RESERVED_PREFIX = "nspawnweb-"
"""Names that begin so belong to base images and scratch copies of the agent."""


class NameRuleError(ValueError):
    """A name breaks a rule; the message is fit for a person."""


def check_container_name(value: str) -> str:
    """Lower-case letters, digits and hyphens (hostname_is_valid in systemd, RFC 1123 labels)."""
    if not value:
        raise NameRuleError("A container needs a name, for example web1.")
    if len(value) > CONTAINER_NAME_MAX:
        raise NameRuleError(
            f"The name has {len(value)} characters; at most {CONTAINER_NAME_MAX} are possible. Choose a shorter one."
        )
    if not _CONTAINER.fullmatch(value):
        raise NameRuleError(
            "A name has lower-case letters a-z, digits and hyphens, and begins and ends with a letter or digit, "
            "for example web-1."
        )
    if value.startswith(RESERVED_PREFIX) or value in {"host", "localhost"}:
        raise NameRuleError(f"The name {value} is kept for the system. Choose another.")
    return value


def check_package_name(value: str) -> str:
    """A Debian package name (Debian Policy 5.6.1): never an option, a path or a pattern."""
    if len(value) > 100 or not _PACKAGE.fullmatch(value):
        raise NameRuleError(
            f"{value[:60]!r} is not a package name. Package names have lower-case letters, digits, '+', '-' and '.', "
            "and begin with a letter or digit, for example openssh-server."
        )
    return value


def check_suite(value: str) -> str:
    """An archive suite or codename such as trixie."""
    if not _SUITE.fullmatch(value):
        raise NameRuleError(f"{value[:60]!r} is not a suite. Write its codename, for example trixie or noble.")
    return value


def check_mirror(value: str) -> str:
    """An http(s) URL without credentials, query or spaces; empty for the tool's own default."""
    if value and (len(value) > 200 or not _MIRROR.fullmatch(value) or ".." in value):
        raise NameRuleError(
            f"{value[:80]!r} is not a mirror address. Write http:// or https://, a host and a path, without user, "
            "password or query; leave it empty for the default mirror."
        )
    return value


def check_crypt_hash(value: str) -> str:
    """A crypt(3) hash, SHA-512 or yescrypt; nothing that could break out of a shadow(5) field."""
    if not _CRYPT.fullmatch(value):
        raise NameRuleError("A password travels as a crypt(3) hash beginning with $6$ or $y$.")
    return value


ContainerName = Annotated[str, StringConstraints(max_length=64), AfterValidator(check_container_name)]
PackageName = Annotated[str, AfterValidator(check_package_name)]
Suite = Annotated[str, AfterValidator(check_suite)]
Mirror = Annotated[str, AfterValidator(check_mirror)]
CryptHash = Annotated[str, StringConstraints(max_length=300), AfterValidator(check_crypt_hash)]
Slug = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9.-]{0,47}$")]
