"""Root passwords of containers: a policy, and a crypt(3) hash; the plain one goes no further than here."""

from __future__ import annotations

from passlib.hash import sha512_crypt

from teams.errors import Invalid

MIN_LENGTH = 8
MAX_LENGTH = 128
ROUNDS = 50_000
"""Ten times crypt(5)'s default; about 25 ms, once a password."""


def check_password(password: str, *, field: str = "root_password") -> None:
    """Raise Invalid unless passwd(1) and a login prompt can take it."""
    if not MIN_LENGTH <= len(password) <= MAX_LENGTH:
        raise Invalid(
            "password_length",
            f"The password has {len(password)} characters.",
            f"It takes {MIN_LENGTH} to {MAX_LENGTH}.",
            "Write another, or leave it empty for none.",
            field=field,
        )
    if not password.isprintable():
        raise Invalid(
            "password_characters",
            "The password has a character that no login prompt takes.",
            hint="Use letters, digits, spaces and signs.",
            field=field,
        )


def crypt_hash(password: str) -> str:
    """SHA-512 crypt, `$6$rounds=…`: what every release that can be bootstrapped understands (crypt(5))."""
    hashed: str = sha512_crypt.using(rounds=ROUNDS).hash(password)
    return hashed
