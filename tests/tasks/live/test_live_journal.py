"""Journals: from a cursor on or the last lines, then as they grow, without gap or repeat."""

from __future__ import annotations

import json
import threading
import time
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.utils import timezone

from contract import keys
from contract.live import JOURNAL_LEASE_S
from machines.models import Container, Host
from tasks import notify
from tasks.live import journal
from teams.models import Membership
from tests.tasks.live.harness import FakeHost, closed, told, wait_for


def path(container: Container) -> str:
    return f"/ws/containers/{container.pk}/journal/"


def messages(socket: Any, count: int) -> list[str]:
    """The messages of the next entries; whatever else is told is skipped."""
    found: list[str] = []
    while len(found) < count:
        found += [entry["message"] for entry in told(socket).get("entries", [])]
    return found


def begin(socket: Any, **ask: Any) -> None:
    socket.send(json.dumps(ask))


@pytest.mark.parametrize("who", ["owner", "teammate", "viewer", "operator", "auditor"])
def test_who_sees_the_container_follows_its_journal(
    request: Any, visit: Any, container: Any, host_fake: FakeHost, who: str
) -> None:
    host_fake.log("one", "two", "three")
    with visit(request.getfixturevalue(who)).open(path(container)) as socket:
        begin(socket, source="console", lines=2)
        assert told(socket) == {"following": "web1", "source": "console"}
        first = told(socket)["entries"]
        assert [entry["message"] for entry in first] == ["two", "three"]
        assert set(first[0]) == {"cursor", "at", "priority", "unit", "ident", "pid", "message"}
        host_fake.log("four", "<b>\x1b[31m & ünï")
        assert messages(socket, 2) == ["four", "<b>\x1b[31m & ünï"]
    asked = host_fake.asked("journal.follow")[0]
    assert (asked.name, asked.source, asked.lines) == ("web1", "console", 2)


def test_strangers_cannot_tell_it_from_what_is_not_there(
    visit: Any, container: Any, host_fake: FakeHost, stranger: Any, owner: Any
) -> None:
    with visit(stranger).open(path(container)) as socket:
        unseen = told(socket)
        assert closed(socket)[1] == 4404
    container.removed_at = timezone.now()
    container.save()
    with visit(owner).open(path(container)) as socket:
        assert closed(socket) == ("not_found", 4404)
    with visit(stranger).open(f"/ws/containers/{uuid4()}/journal/") as socket:
        assert told(socket) == unseen
    assert host_fake.requests == []


def test_a_viewer_that_comes_back_goes_on_at_its_cursor(
    visit: Any, owner: Any, container: Any, host_fake: FakeHost
) -> None:
    host_fake.log("one", "two")
    page = visit(owner)
    with page.open(path(container)) as socket:
        begin(socket)
        told(socket)
        cursor = told(socket)["entries"][-1]["cursor"]
    host_fake.log("three")
    with page.open(path(container)) as socket:
        begin(socket, cursor=cursor)
        assert messages(socket, 1) == ["three"]
        host_fake.log("four")
        assert messages(socket, 1) == ["four"]
    assert host_fake.asked("journal.follow")[-1].cursor == cursor


def test_the_lease_lives_as_long_as_the_viewer(
    visit: Any, owner: Any, container: Any, host_fake: FakeHost, monkeypatch: Any
) -> None:
    monkeypatch.setattr(journal, "LEASE_RENEW_S", 0.2)
    with visit(owner).open(path(container)) as socket:
        begin(socket)
        told(socket)
        session = wait_for(lambda: host_fake.sessions)[0]
        assert 0 < host_fake.lease(session) <= JOURNAL_LEASE_S
        host_fake.redis.expire(keys.lease(host_fake.host.pk, session), 2)
        wait_for(lambda: host_fake.lease(session) > 2, "the lease to be renewed")
    wait_for(lambda: host_fake.lease(session) == -2, "the lease to be given back")
    assert wait_for(lambda: host_fake.asked("session.close"))[0].session == session


def test_an_offline_host_is_said_to_be_offline_and_followed_when_it_returns(
    visit: Any, owner: Any, container: Any, host_fake: FakeHost
) -> None:
    host = Host.objects.filter(pk=host_fake.host.pk)
    host.update(last_seen=timezone.now() - timedelta(hours=1))
    with visit(owner).open(path(container)) as socket:
        begin(socket)
        assert "srv1 is offline" in told(socket)["offline"]
        host_fake.log("one")
        host.update(last_seen=timezone.now())
        notify.changed(f"host:{host_fake.host.pk}")
        assert messages(socket, 1) == ["one"]
        host.update(last_seen=timezone.now() - timedelta(hours=1))
        notify.changed(f"host:{host_fake.host.pk}")
        assert "srv1 is offline" in told(socket)["offline"]
        host_fake.sessions.clear()
        host_fake.log("two", "three")
        host.update(last_seen=timezone.now())
        assert messages(socket, 2) == ["two", "three"]
    assert host_fake.asked("journal.follow")[-1].cursor == host_fake.journal[0].cursor


def test_a_stopped_container_is_said_to_be_stopped_and_followed_when_it_runs_again(
    visit: Any, owner: Any, container: Any, host_fake: FakeHost
) -> None:
    row = Container.objects.filter(pk=container.pk)
    with visit(owner).open(path(container)) as socket:
        begin(socket)
        told(socket)
        wait_for(lambda: host_fake.sessions)
        host_fake.log("one")
        assert messages(socket, 1) == ["one"]
        row.update(state="stopped")
        session = host_fake.sessions.pop()
        host_fake.out(session, closed="The container was stopped.")
        assert told(socket) == {"offline": "The container was stopped."}
        host_fake.log("two")
        row.update(state="running")
        notify.changed(f"container:{container.pk}")
        assert messages(socket, 1) == ["two"]
    follows = host_fake.asked("journal.follow")
    assert len({request.session for request in follows}) == len(follows) == 2
    assert follows[-1].cursor == host_fake.journal[0].cursor


def test_a_restarted_agent_is_asked_again(visit: Any, owner: Any, container: Any, host_fake: FakeHost) -> None:
    host_fake.log("one")
    with visit(owner).open(path(container)) as socket:
        begin(socket)
        assert messages(socket, 1) == ["one"]
        host_fake.out(wait_for(lambda: host_fake.sessions).pop(), closed="The host's agent was restarted.")
        assert told(socket) == {"offline": "The host's agent was restarted."}
        assert told(socket)["following"] == "web1"
        host_fake.log("two")
        assert messages(socket, 1) == ["two"]


def test_who_loses_the_right_loses_the_journal(visit: Any, owner: Any, container: Any, host_fake: FakeHost) -> None:
    with visit(owner).open(path(container)) as socket:
        begin(socket)
        told(socket)
        Membership.objects.filter(user=owner).delete()
        assert closed(socket) == ("not_found", 4404)
    wait_for(lambda: host_fake.asked("session.close"))


def test_nonsense_of_a_captured_host_is_not_passed_on(
    visit: Any, owner: Any, container: Any, host_fake: FakeHost
) -> None:
    with visit(owner).open(path(container)) as socket:
        begin(socket)
        told(socket)
        stream = keys.live_out(host_fake.host.pk, wait_for(lambda: host_fake.sessions)[0])
        for raw in ("x", "[]", '{"entries":"x"}', '{"entries":[{"cursor":"c"}]}', '{"evil":1}', "x" * 2_000_000):
            host_fake.redis.xadd(stream, {keys.FIELD: raw})
        host_fake.redis.xadd(stream, {"other": "x"})
        host_fake.redis.xadd(
            stream, {keys.FIELD: '{ "closed":null, "entries" : [ {"cursor":"c]","at":1,"message":"[fine]"} ]}'}
        )
        assert told(socket)["entries"] == [{"cursor": "c]", "at": 1, "message": "[fine]"}]


def test_a_slow_viewer_is_told_how_many_lines_it_missed(
    visit: Any, owner: Any, container: Any, host_fake: FakeHost, monkeypatch: Any
) -> None:
    monkeypatch.setattr(journal, "BUFFER_BYTES", 512 * 1024)
    total, batch, text = 20_000, 100, "x" * 900
    with visit(owner).open(path(container)) as socket:
        begin(socket)
        told(socket)
        wait_for(lambda: host_fake.sessions)
        for start in range(0, total, batch):  # about 20 MB, while nothing is read
            host_fake.log(*(f"{n} {text}" for n in range(start, start + batch)))
        time.sleep(0.5)
        seen, skipped = 0, 0
        numbers: list[int] = []
        while not numbers or numbers[-1] < total - 1:
            message = told(socket)
            skipped += message.get("skipped", 0)
            numbers += [int(entry["message"].split()[0]) for entry in message.get("entries", [])]
            seen = len(numbers)
        assert skipped > 0 and seen + skipped == total
        assert numbers == sorted(set(numbers))


def test_lines_come_quickly_and_none_is_lost(visit: Any, owner: Any, container: Any, host_fake: FakeHost) -> None:
    with visit(owner).open(path(container)) as socket:
        begin(socket)
        told(socket)
        wait_for(lambda: host_fake.sessions)

        def write() -> None:
            for n in range(2000):
                host_fake.log(f"a{n}", f"b{n}")

        writer = threading.Thread(target=write)
        writer.start()
        found = messages(socket, 4000)
        writer.join()
        assert found == [f"{side}{n}" for n in range(2000) for side in "ab"]


def test_nonsense_ends_the_socket(visit: Any, owner: Any, container: Any, host_fake: FakeHost) -> None:
    asks: list[dict[str, Any]] = [{"lines": -1}, {"lines": 10**9}, {"source": "host"}, {"cursor": "a b"}]
    asks += [{"cursor": "x" * 600}, {"name": "db1"}]
    for ask in asks:
        with visit(owner).open(path(container)) as socket:
            begin(socket, **ask)
            assert closed(socket) == ("bad_message", 4400), ask
    assert host_fake.requests == []
