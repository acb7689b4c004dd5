"""/ws/live/: hints that something on a page is stale. The page then fetches it anew."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID

from tasks.live.base import BadMessage, PortalSocket
from tasks.live.registry import resolver
from tasks.models import Job
from tasks.notify import group, lately

TOPICS_MAX = 500
GATHER_S = 0.15
"""Hints of one topic come at most this often; the first comes at once."""
BROAD = frozenset({"jobs", "containers", "hosts"})
"""Anybody who is signed in may hear that some job, container or host changed: which, they see in their own lists."""


def _uuid(text: str) -> UUID | None:
    try:
        ident = UUID(text)
    except ValueError:
        return None
    return ident if str(ident) == text else None


def split(topic: str) -> tuple[str, UUID | None]:
    """("container", id), ("jobs", None); ("", None) for what is no topic."""
    kind, _, rest = topic.partition(":")
    ident = _uuid(rest)
    if topic in BROAD:
        return topic, None
    return (kind, ident) if ident and kind in {"job", "container", "host"} else ("", None)


class LivePages(PortalSocket):
    """{"subscribe": [topic…]} and {"unsubscribe": […]} -> {"subscribed": […], "refused": […]}, then {"topic": T}."""

    async def begin(self) -> None:
        self._topics: set[str] = set()
        self._stale: dict[str, None] = {}
        self._some = asyncio.Event()
        self.spawn(self._tell_stale())

    async def on_text(self, message: dict[str, Any]) -> None:
        for verb in message:
            if verb not in {"subscribe", "unsubscribe"} or not isinstance(message[verb], list):
                raise BadMessage("Send subscribe or unsubscribe with a list of topics.")
        for topic in _texts(message.get("unsubscribe", [])):
            await self._drop(topic)
        wanted = _texts(message.get("subscribe", []))
        if wanted:
            await self._subscribe(wanted)

    async def _subscribe(self, wanted: list[str]) -> None:
        if len(self._topics.union(wanted)) > TOPICS_MAX:
            raise BadMessage(f"At most {TOPICS_MAX} topics are possible on one socket.")
        seen = await self.db(self._visible, wanted)
        for topic in seen:
            await self.join(group(topic))
        self._topics.update(seen)
        answer = {"subscribed": sorted(seen), "refused": sorted(set(wanted) - seen)}
        missed = await lately(seen)
        await self.tell(answer)
        for topic in sorted(missed):
            await self.topic_changed({"topic": topic})

    async def _drop(self, topic: str) -> None:
        self._topics.discard(topic)
        self._stale.pop(topic, None)
        await self.leave(group(topic) if split(topic)[0] else "")

    async def check(self) -> None:
        """Topics of what the person may not see any more fall silent."""
        lost = self._topics - await self.db(self._visible, list(self._topics))
        for topic in lost:
            await self._drop(topic)
        if lost:
            await self.tell({"refused": sorted(lost)})

    def _visible(self, topics: list[str]) -> set[str]:
        """Those that the person may hear of, by one query a kind."""
        parts = {topic: split(topic) for topic in topics}
        ids: dict[str, set[UUID]] = {"job": set(), "container": set(), "host": set()}
        for kind, ident in parts.values():
            if ident is not None:
                ids[kind].add(ident)
        seen = {
            "job": set(Job.objects.visible_to(self.user).filter(pk__in=ids["job"]).values_list("pk", flat=True))
            if ids["job"]
            else set(),
            "container": resolver().visible_containers(self.user, ids["container"]) if ids["container"] else set(),
            "host": resolver().visible_hosts(self.user, ids["host"]) if ids["host"] else set(),
        }
        return {t for t, (kind, ident) in parts.items() if kind in BROAD or (ident and ident in seen[kind])}

    async def topic_changed(self, message: dict[str, Any]) -> None:
        """From tasks.notify. Only noted here: a browser that does not read holds nothing up but itself."""
        if message["topic"] in self._topics:
            self._stale[message["topic"]] = None
            self._some.set()

    async def _tell_stale(self) -> None:
        while True:
            await self._some.wait()
            self._some.clear()
            topics, self._stale = list(self._stale), {}
            for topic in topics:
                await self.tell({"topic": topic})
            await asyncio.sleep(GATHER_S)


def _texts(values: Any) -> list[str]:
    if not isinstance(values, list) or not all(isinstance(value, str) and len(value) <= 80 for value in values):
        raise BadMessage("Topics are texts such as jobs or container:ID.")
    return values
