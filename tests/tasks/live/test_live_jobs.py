"""A job's events: every one, once, in order, whatever happens at the same time."""

from __future__ import annotations

import json
import threading
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection

from tasks import notify
from tasks.models import Job, JobState
from tests.factories import JobFactory, tell
from tests.tasks.live.harness import closed, told


def line(n: int) -> tuple[str, dict[str, Any]]:
    return "output", {"step": "x", "lines": [f"line {n}"]}


def collect(socket: Any, until: int) -> tuple[list[dict[str, Any]], str]:
    events: list[dict[str, Any]] = []
    state = ""
    while not events or events[-1]["seq"] < until:
        message = told(socket)
        events += message["events"]
        state = message["state"]
    return events, state


@pytest.mark.parametrize("who", ["owner", "teammate", "viewer", "operator", "auditor"])
def test_who_sees_the_job_reads_its_events(request: Any, visit: Any, container: Any, who: str) -> None:
    job = JobFactory(container=container)
    tell(job, *(line(n) for n in range(450)))
    with visit(request.getfixturevalue(who)).open(f"/ws/jobs/{job.pk}/") as socket:
        socket.send('{"after": 0}')
        events, state = collect(socket, 450)
    assert [event["seq"] for event in events] == list(range(1, 451))
    assert events[7]["data"] == {"step": "x", "lines": ["line 7"]} and events[7]["at"] and state == "succeeded"


def test_strangers_cannot_tell_it_from_what_is_not_there(visit: Any, container: Any, stranger: Any) -> None:
    job = JobFactory(container=container)
    with visit(stranger).open(f"/ws/jobs/{job.pk}/") as socket:
        known = told(socket)
        assert closed(socket)[1] == 4404
    with visit(stranger).open(f"/ws/jobs/{uuid4()}/") as socket:
        assert told(socket) == known


def test_a_job_without_events_tells_its_state(visit: Any, container: Any, owner: Any) -> None:
    job = JobFactory(container=container, state=JobState.QUEUED, holds_container=True)
    with visit(owner).open(f"/ws/jobs/{job.pk}/") as socket:
        socket.send('{"after": 0}')
        first = told(socket)
        assert (first["events"], first["state"]) == ([], "queued")
        Job.objects.filter(pk=job.pk).update(state=JobState.RUNNING)
        notify.changed(f"job:{job.pk}")
        assert told(socket)["state"] == "running"


def test_events_stored_while_one_connects_and_reads_come_once_and_in_order(
    visit: Any, container: Any, owner: Any
) -> None:
    job = JobFactory(container=container, state=JobState.RUNNING, holds_container=True)
    total = 300

    def store() -> None:
        for n in range(total):
            tell(job, line(n))
            notify.changed(f"job:{job.pk}")
        connection.close()

    writer = threading.Thread(target=store)
    page = visit(owner)
    writer.start()
    seen: list[int] = []
    try:
        while not seen or seen[-1] < total:
            with page.open(f"/ws/jobs/{job.pk}/") as socket:  # reloads again and again
                socket.send(json.dumps({"after": seen[-1] if seen else 0}))
                for _ in range(3):
                    if seen and seen[-1] == total:
                        break
                    seen += [event["seq"] for event in told(socket)["events"]]
    finally:
        writer.join()
    assert seen == list(range(1, total + 1))


def test_a_gap_holds_back_what_follows_it(visit: Any, container: Any, owner: Any) -> None:
    job = JobFactory(container=container, state=JobState.RUNNING, holds_container=True)
    tell(job, *(line(n) for n in range(5)))
    Job.objects.filter(pk=job.pk).update(last_seq=3)
    with visit(owner).open(f"/ws/jobs/{job.pk}/") as socket:
        socket.send('{"after": 1}')
        assert [event["seq"] for event in told(socket)["events"]] == [2, 3]
        Job.objects.filter(pk=job.pk).update(last_seq=5)
        notify.changed(f"job:{job.pk}")
        assert [event["seq"] for event in told(socket)["events"]] == [4, 5]


def test_a_lost_hint_is_made_good(visit: Any, container: Any, owner: Any) -> None:
    job = JobFactory(container=container, state=JobState.RUNNING, holds_container=True)
    with visit(owner).open(f"/ws/jobs/{job.pk}/") as socket:
        socket.send('{"after": 0}')
        told(socket)
        tell(job, line(0))  # and nobody says so
        assert [event["seq"] for event in told(socket)["events"]] == [1]


def test_nonsense_ends_the_socket(visit: Any, container: Any, owner: Any) -> None:
    job = JobFactory(container=container)
    for text in ('{"after": -1}', '{"after": "1"}', '{"after": true}', "{}", '{"after": 1, "x": 2}'):
        with visit(owner).open(f"/ws/jobs/{job.pk}/") as socket:
            socket.send(text)
            assert closed(socket) == ("bad_message", 4400), text
