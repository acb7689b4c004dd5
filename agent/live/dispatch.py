"""What each live request does. Nothing here waits: long work goes on in sessions of its own."""

from __future__ import annotations

import logging
from typing import Protocol
from uuid import UUID

from agent.live.host import Host
from agent.live.journal import JournalSession
from agent.live.sessions import CLOSED_BY_VIEWER, Sessions
from agent.live.terminal import TerminalSession
from contract.live import (
    CancelJob,
    JournalFollow,
    ReportInventory,
    Request,
    ResendEvents,
    SessionClose,
    TerminalInput,
    TerminalOpen,
    TerminalResize,
)

log = logging.getLogger(__name__)


class Jobs(Protocol):
    """What is needed of agent.store.Store."""

    def request_cancel(self, job: UUID) -> None: ...
    def requeue(self, job: UUID, after: int) -> int: ...


class Reporter(Protocol):
    """What is needed of agent.live.inventory.Inventory."""

    def request(self) -> None: ...


class Dispatch:
    """Call it with an admitted request. Raises RefusedRequest."""

    def __init__(self, *, sessions: Sessions, host: Host, jobs: Jobs, reporter: Reporter) -> None:
        self._sessions = sessions
        self._host = host
        self._jobs = jobs
        self._reporter = reporter

    def __call__(self, request: Request) -> None:
        match request:
            case TerminalInput():
                self._type(request)
            case TerminalResize():
                self._resize(request)
            case TerminalOpen():
                self._open(request)
            case JournalFollow():
                self._sessions.start(JournalSession(request, self._host))
            case SessionClose():
                self._sessions.stop(request.session, CLOSED_BY_VIEWER)
            case CancelJob():
                log.info("job %s is to be cancelled", request.job)
                self._jobs.request_cancel(request.job)
            case ResendEvents():
                count = self._jobs.requeue(request.job, request.after)
                log.info("%s events of job %s after %s go out again", count, request.job, request.after)
            case ReportInventory():
                self._reporter.request()

    def _open(self, request: TerminalOpen) -> None:
        """One that is open goes on, in the size of its new viewer."""
        session = self._sessions.get(request.session)
        if isinstance(session, TerminalSession):
            session.resize(request)
        else:
            self._sessions.start(TerminalSession(request, self._host))

    def _type(self, request: TerminalInput) -> None:
        session = self._sessions.get(request.session)
        if isinstance(session, TerminalSession):
            session.type(request)
        else:
            self._sessions.unknown(request.session)

    def _resize(self, request: TerminalResize) -> None:
        session = self._sessions.get(request.session)
        if isinstance(session, TerminalSession):
            session.resize(request)
