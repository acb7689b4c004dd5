"""Errors of jobs."""

from __future__ import annotations

from teams.errors import Conflict


class TransitionRefused(Conflict):
    """The job is not in a state from which it could go there, or it went elsewhere a moment ago."""


class JobIsOver(Conflict):
    """The job has ended; there is nothing to cancel."""


class JobNotOver(Conflict):
    """The job has not failed or been cancelled; there is nothing to retry."""
