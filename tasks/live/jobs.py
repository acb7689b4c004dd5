"""/ws/jobs/<id>/: a job's events as they are stored, without gap or repeat."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID

from tasks.live.base import BadMessage, PortalSocket
from tasks.models import Job
from tasks.notify import group
from tasks.selectors import job_output, waiting_reason
from teams.errors import NotFound

PAGE = 200
"""Events in one message."""
GATHER_S = 0.05
AFTER_MAX = 2**31 - 1


class JobEvents(PortalSocket):
    """{"after": N} -> {"events": […], "state": …, "waiting": …}, again and again.

    The database has the events; a hint only says that there are more. The group is joined before the first read, so
    what is stored between the two is read or hinted, and the socket remembers what the browser has.
    """

    async def begin(self) -> None:
        self._ident: UUID = self.scope["url_route"]["kwargs"]["job"]
        self._more = asyncio.Event()
        self._after: int | None = None
        self._told: tuple[str, str] | None = None
        await self.check()

    async def check(self) -> None:
        """Also a second look, in case a hint was lost."""
        if not await self.db(self._visible):
            raise NotFound("There is no such job, or you may not see it.")
        self._more.set()

    def _visible(self) -> bool:
        return bool(Job.objects.visible_to(self.user).filter(pk=self._ident).exists())

    async def on_text(self, message: dict[str, Any]) -> None:
        after = message.get("after")
        if set(message) != {"after"} or type(after) is not int or not 0 <= after <= AFTER_MAX:
            raise BadMessage('Send {"after": N}: the number of the last event that you have, or 0.')
        if self._after is not None:
            raise BadMessage("This socket has begun already.")
        self._after = after
        await self.join(group(f"job:{self._ident}"))
        self._more.set()
        self.spawn(self._follow())

    async def topic_changed(self, message: Any) -> None:
        self._more.set()

    async def _follow(self) -> None:
        while True:
            await self._more.wait()
            self._more.clear()
            while await self._send_page():
                pass
            await asyncio.sleep(GATHER_S)

    async def _send_page(self) -> bool:
        """What the browser lacks, one message. True if there may be more."""
        events, state, waiting = await self.db(self._read, self._after)
        if events or (state, waiting) != self._told:
            await self.tell({"events": events, "state": state, "waiting": waiting})
            self._told = (state, waiting)
        if events:
            self._after = events[-1]["seq"]
        return len(events) == PAGE

    def _read(self, after: int) -> tuple[list[dict[str, Any]], str, str]:
        # The job first: a state that says "over" then never comes without the events before it.
        job = Job.objects.filter(pk=self._ident).first()
        if job is None:
            raise NotFound("The job is gone.")
        return job_output(job, after, PAGE), job.state, waiting_reason(job)
