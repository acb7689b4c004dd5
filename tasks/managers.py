"""Reads of jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import models

from teams.permissions import AnyUser, Permission, team_filter

if TYPE_CHECKING:
    from tasks.models.job import Job  # noqa: F401 - in a base class's brackets

UNFINISHED = ("queued", "running")


class JobQuerySet(models.QuerySet["Job"]):
    def visible_to(self, user: AnyUser) -> JobQuerySet:
        """Jobs of the teams in which `user` may see jobs; operators and auditors see all, also those on hosts."""
        return self.filter(team_filter(user, Permission.JOB_VIEW))

    def unfinished(self) -> JobQuerySet:
        return self.filter(state__in=UNFINISHED)


JobManager = models.Manager.from_queryset(JobQuerySet)
