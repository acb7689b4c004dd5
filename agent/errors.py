"""Errors of the agent. Each has a stable code and words fit for a person: what happened, why, what to do."""

from __future__ import annotations

from contract.events import Failure


class AgentError(Exception):
    """Something in the agent did not work."""

    code = "agent_error"
    hint = ""

    def __init__(self, what: str, *, why: str = "", hint: str = "", code: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.why = why
        self.hint = hint or type(self).hint
        self.code = code or type(self).code

    def __str__(self) -> str:
        return " ".join(part for part in (self.what, self.why, self.hint) if part)

    def failure(self) -> Failure:
        """The same for the portal, cut to the contract's sizes."""
        return Failure(code=self.code, what=self.what[:500], why=self.why[-2000:], hint=self.hint[:1000])


class Cancelled(AgentError):
    """Somebody cancelled the job."""

    code = "cancelled"


class ConfigError(AgentError):
    """The agent is not enrolled, or its configuration is damaged."""

    code = "not_enrolled"
    hint = "Enrol this host anew with the line that the portal shows under Add host."


class NotFound(AgentError):
    """The machine or image is not on this host."""

    code = "not_found"


class NameTaken(AgentError):
    """A machine or image of that name is there already."""

    code = "name_taken"
    hint = "Choose another name, or remove the other container first."


class DiskFull(AgentError):
    """The pool has no room."""

    code = "disk_full"
    hint = "Free space under /var/lib/machines on the host, or choose another host, then retry."


class BootFailed(AgentError):
    """The container's systemd did not come up."""

    code = "boot_failed"
    hint = "Look at the container's console journal, mend the cause, and start it again."


class TimedOut(AgentError):
    """Something took longer than it may."""

    code = "timeout"


def unexpected(error: BaseException) -> Failure:
    """Words for an error that nobody foresaw; the traceback is in the agent's journal."""
    return Failure(
        code="internal_error",
        what="The host agent met an error that it did not expect.",
        why=f"{type(error).__name__}: {error}"[:2000],
        hint="Look at the journal of nspawnweb-agent-jobs on the host, and report it.",
    )
