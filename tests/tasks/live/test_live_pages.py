"""Hints to pages: for what one may see, as long as one may."""

from __future__ import annotations

import json
import time
from typing import Any
from uuid import uuid4

import pytest

from tasks import notify
from tasks.live.pages import GATHER_S, TOPICS_MAX
from teams.models import Membership
from tests.factories import JobFactory
from tests.tasks.live.harness import closed, told


def subscribe(socket: Any, *wanted: str) -> None:
    socket.send(json.dumps({"subscribe": wanted}))


def topics(container: Any, job: Any) -> list[str]:
    return [f"container:{container.pk}", f"host:{container.host_id}", f"job:{job.pk}", "containers", "jobs"]


@pytest.mark.parametrize("who", ["owner", "teammate", "viewer", "operator", "auditor"])
def test_who_sees_it_hears_of_it(request: Any, visit: Any, container: Any, who: str) -> None:
    job = JobFactory(container=container)
    with visit(request.getfixturevalue(who)).open("/ws/live/") as socket:
        subscribe(socket, *topics(container, job))
        assert told(socket) == {"subscribed": sorted(topics(container, job)), "refused": []}
        for topic in topics(container, job):
            notify.changed(topic)
        assert {told(socket)["topic"] for _ in topics(container, job)} == set(topics(container, job))


def test_strangers_hear_nothing_of_it(visit: Any, container: Any, stranger: Any) -> None:
    job, nothing = JobFactory(container=container), uuid4()
    wanted = [f"container:{container.pk}", f"container:{nothing}", f"job:{job.pk}", "odd", "job:1", "host:*", "jobs"]
    with visit(stranger).open("/ws/live/") as socket:
        subscribe(socket, *wanted)
        answer = told(socket)
        assert answer == {"subscribed": ["jobs"], "refused": sorted(set(wanted) - {"jobs"})}
        notify.changed(f"container:{container.pk}", f"job:{job.pk}")
        notify.changed("jobs")
        assert told(socket) == {"topic": "jobs"}


def test_a_storm_of_changes_is_few_hints(visit: Any, owner: Any, container: Any) -> None:
    with visit(owner).open("/ws/live/") as socket:
        socket.send('{"subscribe": ["containers"]}')
        told(socket)
        begin = time.monotonic()
        for _ in range(200):
            notify.changed("containers")
        took = time.monotonic() - begin
        socket.send('{"subscribe": ["jobs"]}')
        notify.changed("jobs")
        hints: list[Any] = []
        while not hints or hints[-1] != {"topic": "jobs"}:
            hints.append(told(socket))
        assert 1 <= hints.count({"topic": "containers"}) <= min(took / GATHER_S + 2, 199)


def test_a_change_between_a_page_and_its_subscription_is_told(visit: Any, owner: Any, container: Any) -> None:
    with visit(owner).open("/ws/live/") as socket:
        notify.changed("jobs")
        subscribe(socket, "jobs", "containers")
        assert told(socket) == {"subscribed": ["containers", "jobs"], "refused": []}
        assert told(socket) == {"topic": "jobs"}


def test_who_leaves_the_team_hears_no_more(visit: Any, owner: Any, container: Any) -> None:
    topic = f"container:{container.pk}"
    with visit(owner).open("/ws/live/") as socket:
        subscribe(socket, topic, "jobs")
        assert told(socket)["subscribed"] == [topic, "jobs"]
        Membership.objects.filter(user=owner).delete()
        assert told(socket) == {"refused": [topic]}
        notify.changed(topic)
        notify.changed("jobs")
        assert told(socket) == {"topic": "jobs"}


def test_signing_out_ends_the_socket_at_once(visit: Any, owner: Any, monkeypatch: Any) -> None:
    page = visit(owner)
    with page.open("/ws/live/") as socket:
        socket.send('{"subscribe": ["jobs"]}')
        told(socket)
        page.client.logout()
        assert closed(socket) == ("signed_out", 4401)


def test_a_locked_account_loses_its_sockets(visit: Any, owner: Any) -> None:
    with visit(owner).open("/ws/live/") as socket:
        owner.is_active = False
        owner.save()
        assert closed(socket) == ("signed_out", 4401)


def test_nonsense_ends_the_socket(visit: Any, owner: Any) -> None:
    for text in ("x", "[]", '{"a": 1}', '{"subscribe": "jobs"}', '{"subscribe": [1]}', "[" * 60_000):
        with visit(owner).open("/ws/live/") as socket:
            socket.send(text)
            assert closed(socket) == ("bad_message", 4400), text[:100]


def test_topics_and_messages_are_bounded(visit: Any, owner: Any) -> None:
    with visit(owner).open("/ws/live/") as socket:
        subscribe(socket, *(f"job:{uuid4()}" for _ in range(TOPICS_MAX + 1)))
        assert closed(socket)[1] in {4400, 4413}
    with visit(owner).open("/ws/live/") as socket:
        socket.send(b"\0")
        assert closed(socket) == ("bad_message", 4400)
