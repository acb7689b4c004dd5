"""The portal's errors: each has a stable code and says what happened, why, and what to do.

They live here because this is the lowest room above the audit trail that every other room may import.
"""

from __future__ import annotations

from typing import ClassVar


class PortalError(Exception):
    """An act cannot be done. `code` is stable (API, tests); the texts are for a person; `status` is HTTP's."""

    default_status: ClassVar[int] = 400

    def __init__(self, code: str, what: str, why: str = "", hint: str = "", status: int | None = None) -> None:
        self.code = code
        self.what = what
        self.why = why
        self.hint = hint
        self.status = self.default_status if status is None else status
        super().__init__(" ".join(part for part in (what, why, hint) if part))


class NotFound(PortalError):
    """It does not exist, or this person may not see it: nobody can tell which."""

    default_status = 404

    def __init__(self, what: str = "There is no such thing here.", why: str = "", hint: str = "") -> None:
        super().__init__("not_found", what, why, hint)


class PermissionDenied(PortalError):
    """The person sees it and may not do this to it."""

    default_status = 403

    def __init__(self, what: str = "You may not do this.", why: str = "", hint: str = "") -> None:
        super().__init__("permission_denied", what, why, hint)


class Conflict(PortalError):
    """It does not fit the present state of things; it may later."""

    default_status = 409


class Unavailable(PortalError):
    """A part of the portal that this needs does not answer just now."""

    default_status = 503


class Invalid(PortalError):
    """A value is wrong; `field` names it as forms and the API do."""

    default_status = 422

    def __init__(self, code: str, what: str, why: str = "", hint: str = "", *, field: str = "") -> None:
        super().__init__(code, what, why, hint)
        self.field = field
