"""Terminals: one ticket, one person, one browser; they survive a reload and not a withdrawn right."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from audit.models import AuditEvent
from contract import keys
from contract.live import TERMINAL_LEASE_S
from machines.models import Host
from tasks.live import terminals, tickets
from tasks.models import TerminalSession
from teams.errors import Conflict, NotFound, PermissionDenied
from teams.models import Membership, Role
from tests.tasks.live.harness import Browser, FakeHost, closed, told, wait_for

PATH = "/ws/terminal/"
REFUSED = ("not_found", 4404)


def ticket(page: Browser, user: Any, container: Any, session: str = "") -> dict[str, str]:
    return tickets.issue(by=user, container=container, session_key=page.session_key, session=session)


def attach(socket: Any, issued: dict[str, str], cols: int = 80, rows: int = 24) -> None:
    socket.send(json.dumps({"ticket": issued["ticket"], "cols": cols, "rows": rows}))


def shown(socket: Any, end: bytes) -> bytes:
    """Output up to and with `end`."""
    found = b""
    while not found.endswith(end):
        message = socket.recv(timeout=10)
        assert isinstance(message, bytes), message
        found += message
    return found


@pytest.mark.parametrize("who", ["owner", "teammate", "team_admin", "operator"])
def test_who_may_types_and_sees(request: Any, visit: Any, container: Any, host_fake: FakeHost, who: str) -> None:
    user = request.getfixturevalue(who)
    page = visit(user)
    issued = ticket(page, user, container)
    with page.open(PATH) as socket:
        attach(socket, issued, cols=100, rows=30)
        assert told(socket) == {"ready": True, "session": issued["session"]}
        assert shown(socket, b"# ") == host_fake.greeting
        socket.send(b"ls -l\r")
        assert shown(socket, b"\r") == b"LS -L\r"
        socket.send('{"resize": [132, 50]}')
        socket.send("\u00fc".encode())
        resized = wait_for(lambda: host_fake.asked("terminal.resize"))[0]
    opened = host_fake.asked("terminal.open")[0]
    assert (opened.name, opened.cols, opened.rows, opened.user) == ("web1", 100, 30, "root")
    assert (resized.cols, resized.rows) == (132, 50)
    assert AuditEvent.objects.get(action="terminal.open").object_id == str(container.pk)


@pytest.mark.parametrize(
    ("who", "error"), [("stranger", NotFound), ("viewer", PermissionDenied), ("auditor", PermissionDenied)]
)
def test_who_may_not_gets_no_ticket(request: Any, db: None, container: Any, who: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        tickets.issue(by=request.getfixturevalue(who), container=container, session_key="k")
    assert not TerminalSession.objects.exists()


def test_no_ticket_while_the_host_is_offline(owner: Any, container: Any, host: Host) -> None:
    Host.objects.update(last_seen=timezone.now() - timedelta(hours=1))
    with pytest.raises(Conflict) as error:
        tickets.issue(by=owner, container=container, session_key="k")
    assert error.value.code == "host_offline"


def test_a_ticket_is_stored_as_a_hash_only(owner: Any, container: Any) -> None:
    issued = tickets.issue(by=owner, container=container, session_key="key-of-browser")
    row = TerminalSession.objects.values().get()
    assert issued["ticket"] not in str(row) and "key-of-browser" not in str(row)


def test_a_ticket_is_good_once(visit: Any, owner: Any, container: Any, host_fake: FakeHost) -> None:
    page = visit(owner)
    issued = ticket(page, owner, container)
    with page.open(PATH) as socket:
        attach(socket, issued)
        assert told(socket)["ready"]
        with page.open(PATH) as again:
            attach(again, issued)
            assert closed(again) == REFUSED
        socket.send(b"still\r")
        assert b"STILL" in shown(socket, b"\r")


def test_a_ticket_of_another_person_is_refused_and_void(
    visit: Any, owner: Any, teammate: Any, container: Any, host_fake: FakeHost
) -> None:
    page, thief = visit(owner), visit(teammate)
    issued = ticket(page, owner, container)
    for who in (thief, page):
        with who.open(PATH) as socket:
            attach(socket, issued)
            assert closed(socket) == REFUSED
    assert host_fake.requests == []


def test_a_ticket_of_another_browser_of_the_same_person_is_refused(
    visit: Any, owner: Any, container: Any, host_fake: FakeHost
) -> None:
    page, other = visit(owner), visit(owner)
    issued = ticket(page, owner, container)
    with other.open(PATH) as socket:
        attach(socket, issued)
        assert closed(socket) == REFUSED


def test_an_old_ticket_is_refused(visit: Any, owner: Any, container: Any, host_fake: FakeHost) -> None:
    page = visit(owner)
    issued = ticket(page, owner, container)
    row = TerminalSession.objects.get()
    assert row.ticket_expires_at is not None
    assert timedelta(seconds=25) < row.ticket_expires_at - timezone.now() <= timedelta(seconds=30)
    TerminalSession.objects.update(ticket_expires_at=timezone.now())
    with page.open(PATH) as socket:
        attach(socket, issued)
        assert closed(socket) == REFUSED
    assert host_fake.requests == []


def test_no_ticket_no_terminal(visit: Any, owner: Any, host_fake: FakeHost) -> None:
    for first in ('{"ticket": ""}', '{"ticket": "x"}'):
        with visit(owner).open(PATH) as socket:
            socket.send(first)
            assert closed(socket) == REFUSED, first
    for nonsense in ("{}", '{"ticket": 1}', '{"ticket": "x", "cols": 1}', '{"resize": [80, 24]}', b"rm -rf /\r"):
        with visit(owner).open(PATH) as socket:
            socket.send(nonsense)
            assert closed(socket) == ("bad_message", 4400), nonsense


def test_the_right_is_checked_again_when_the_ticket_is_used(
    visit: Any, owner: Any, container: Any, host_fake: FakeHost
) -> None:
    page = visit(owner)
    issued = ticket(page, owner, container)
    Membership.objects.filter(user=owner).update(role=Role.VIEWER)
    with page.open(PATH) as socket:
        attach(socket, issued)
        assert closed(socket) == ("permission_denied", 4403)
    assert host_fake.requests == []


# --- coming back ---


def test_a_reload_comes_back_to_the_same_shell_with_what_it_showed(
    visit: Any, owner: Any, container: Any, host_fake: FakeHost
) -> None:
    page = visit(owner)
    issued = ticket(page, owner, container)
    with page.open(PATH) as socket:
        attach(socket, issued)
        told(socket)
        socket.send(b"first\r")
        shown(socket, b"FIRST\r")
    assert 0 < host_fake.lease(TerminalSession.objects.get().pk) <= TERMINAL_LEASE_S
    host_fake.out(TerminalSession.objects.get().pk, data="bWVhbndoaWxl")  # meanwhile
    again = ticket(page, owner, container, issued["session"])
    assert again["session"] == issued["session"] and again["ticket"] != issued["ticket"]
    with page.open(PATH) as socket:
        attach(socket, again, cols=90, rows=20)
        assert told(socket) == {"ready": True, "session": issued["session"]}
        assert shown(socket, b"while") == b"welcome\r\n# FIRST\rmeanwhile"
        socket.send(b"second\r")
        assert shown(socket, b"\r") == b"SECOND\r"
    assert len(host_fake.asked("terminal.open")) == 1
    seqs = [request.seq for request in host_fake.asked("terminal.input")]
    assert seqs == sorted(set(seqs)) and len(seqs) >= 2
    wait_for(lambda: TerminalSession.objects.get().input_seq == seqs[-1], "the last number to be stored")
    assert AuditEvent.objects.filter(action="terminal.open").count() == 1


def test_numbers_of_input_rise_also_when_the_clock_was_set_back(
    visit: Any, owner: Any, container: Any, host_fake: FakeHost
) -> None:
    page = visit(owner)
    issued = ticket(page, owner, container)
    ahead = 4 * 10**18
    TerminalSession.objects.update(input_seq=ahead)
    with page.open(PATH) as socket:
        attach(socket, issued)
        told(socket)
        shown(socket, b"# ")
        socket.send(b"a")
        shown(socket, b"A")
        socket.send(b"b")
        shown(socket, b"B")
    assert [request.seq for request in host_fake.asked("terminal.input")] == [ahead + 1, ahead + 2]


def test_questions_to_the_terminal_are_not_asked_again(
    visit: Any, owner: Any, container: Any, host_fake: FakeHost
) -> None:
    host_fake.greeting = b"\x1b[c\x1b[6n\x1b]11;?\x07\x1b[31mred\x1b[0m\x1bP$qm\x1b\\ # "
    page = visit(owner)
    issued = ticket(page, owner, container)
    with page.open(PATH) as socket:
        attach(socket, issued)
        told(socket)
        wait_for(lambda: host_fake.asked("terminal.open"))
        assert b"red" in shown(socket, b"# ")
    with page.open(PATH) as socket:
        attach(socket, ticket(page, owner, container, issued["session"]))
        told(socket)
        assert shown(socket, b"# ") == b"\x1b[31mred\x1b[0m # "


def test_only_ones_own_terminal_is_come_back_to(
    visit: Any, owner: Any, teammate: Any, container: Any, host_fake: FakeHost
) -> None:
    page = visit(owner)
    issued = ticket(page, owner, container)
    thief = visit(teammate)
    for other in (
        ticket(thief, teammate, container, issued["session"]),
        ticket(visit(owner), owner, container, issued["session"]),
    ):
        assert other["session"] != issued["session"]
    assert ticket(page, owner, container, "nonsense")["session"] != issued["session"]


def test_a_terminal_whose_time_ran_out_is_replaced(visit: Any, owner: Any, container: Any, host_fake: FakeHost) -> None:
    page = visit(owner)
    issued = ticket(page, owner, container)
    with page.open(PATH) as socket:
        attach(socket, issued)
        told(socket)
        shown(socket, b"# ")
    row = TerminalSession.objects.get()
    wait_for(lambda: host_fake.lease(row.pk) > 0)
    waiting = ticket(page, owner, container, issued["session"])
    host_fake.redis.delete(keys.lease(host_fake.host.pk, row.pk))
    with page.open(PATH) as socket:
        attach(socket, waiting)
        assert closed(socket) == ("ended", 1000)
    assert ticket(page, owner, container, issued["session"])["session"] != issued["session"]
    end = AuditEvent.objects.get(action="terminal.close")
    assert end.detail["reason"] == terminals.EXPIRED and end.detail["seconds"] >= 0 and end.team_id == container.team_id


def test_the_sweep_notes_terminals_that_nobody_came_back_to(redis_server: Any, owner: Any, container: Any) -> None:
    rows = [
        TerminalSession.objects.create(
            user=owner, session_key_digest="x", host_id=container.host_id, container_id=container.pk,
            container_name="web1", requested_at=timezone.now() - timedelta(hours=1),
        )
        for _ in range(2)
    ]  # fmt: skip
    from tasks.redis import client

    client().set(keys.lease(container.host_id, rows[1].pk), "1")
    assert terminals.sweep() == 1
    assert list(TerminalSession.objects.filter(closed_at=None)) == [rows[1]]
    assert AuditEvent.objects.filter(action="terminal.close").count() == 1


# --- the end ---


def test_the_end_of_the_shell_is_told_and_noted(visit: Any, owner: Any, container: Any, host_fake: FakeHost) -> None:
    page = visit(owner)
    issued = ticket(page, owner, container)
    with page.open(PATH) as socket:
        attach(socket, issued)
        told(socket)
        shown(socket, b"# ")
        row = TerminalSession.objects.get()
        host_fake.out(row.pk, data="Ynll")
        host_fake.out(row.pk, closed="The shell ended.")
        assert shown(socket, b"bye")
        assert told(socket) == {"closed": "The shell ended.", "code": "ended"}
    row.refresh_from_db()
    assert row.closed_reason == "The shell ended."
    assert AuditEvent.objects.get(action="terminal.close").detail["reason"] == "The shell ended."
    assert ticket(page, owner, container, issued["session"])["session"] != issued["session"]


def withdraw_membership(page: Browser, user: Any) -> None:
    Membership.objects.filter(user=user).delete()


def demote(page: Browser, user: Any) -> None:
    Membership.objects.filter(user=user).update(role=Role.VIEWER)


def sign_out(page: Browser, user: Any) -> None:
    page.client.logout()


def lock(page: Browser, user: Any) -> None:
    user.is_active = False
    user.save()


def change_password(page: Browser, user: Any) -> None:
    user.set_password("another horse battery 9")
    user.save()


@pytest.mark.parametrize("act", [withdraw_membership, demote, sign_out, lock, change_password])
def test_who_loses_the_right_loses_the_shell_and_not_only_its_view(
    visit: Any, owner: Any, container: Any, host_fake: FakeHost, act: Callable[[Browser, Any], None]
) -> None:
    page = visit(owner)
    issued = ticket(page, owner, container)
    with page.open(PATH) as socket:
        attach(socket, issued)
        told(socket)
        shown(socket, b"# ")
        act(page, owner)
        assert closed(socket)[1] in {4401, 4403, 4404, 1000}
    assert str(wait_for(lambda: host_fake.asked("session.close"))[0].session) == issued["session"]
    wait_for(lambda: TerminalSession.objects.get().closed_at, "the end to be noted")
    wait_for(lambda: host_fake.lease(TerminalSession.objects.get().pk) == -2, "the lease to be gone")
    assert AuditEvent.objects.filter(action="terminal.close").count() == 1


def test_signing_out_ends_also_terminals_that_nobody_looks_at(
    visit: Any, owner: Any, container: Any, host_fake: FakeHost
) -> None:
    page = visit(owner)
    with page.open(PATH) as socket:
        attach(socket, ticket(page, owner, container))
        told(socket)
        shown(socket, b"# ")
    page.client.logout()
    assert wait_for(lambda: host_fake.asked("session.close"))
    assert TerminalSession.objects.get().closed_reason == terminals.SIGNED_OUT


def test_one_may_end_it(visit: Any, owner: Any, container: Any, host_fake: FakeHost) -> None:
    page = visit(owner)
    with page.open(PATH) as socket:
        attach(socket, ticket(page, owner, container))
        told(socket)
        shown(socket, b"# ")
        socket.send('{"end": true}')
        assert closed(socket) == ("ended", 1000)
    assert wait_for(lambda: host_fake.asked("session.close"))


# --- much at once ---


def test_a_large_paste_arrives_whole_and_in_order(visit: Any, owner: Any, container: Any, host_fake: FakeHost) -> None:
    paste = b"".join(b"%06d\n" % n for n in range(100_000))  # 700 kB
    page = visit(owner)
    with page.open(PATH) as socket:
        attach(socket, ticket(page, owner, container))
        told(socket)
        shown(socket, b"# ")
        socket.send(paste)
        found = b""
        while len(found) < len(paste):
            found += socket.recv(timeout=10)
    assert found == paste
    assert all(len(request.data) <= 64 * 1024 for request in host_fake.asked("terminal.input"))


def test_more_than_anybody_pastes_is_refused(visit: Any, owner: Any, container: Any, host_fake: FakeHost) -> None:
    page = visit(owner)
    with page.open(PATH) as socket:
        attach(socket, ticket(page, owner, container))
        told(socket)
        socket.send(b"x" * (2 * 1024 * 1024))
        assert closed(socket) == ("bad_message", 4400)


def test_impossible_sizes_are_refused(visit: Any, owner: Any, container: Any, host_fake: FakeHost) -> None:
    page = visit(owner)
    for size in ("[1, 24]", "[80, 5000]", "[80]", '["a", 1]', "80"):
        with page.open(PATH) as socket:
            attach(socket, ticket(page, owner, container))
            told(socket)
            socket.send(f'{{"resize": {size}}}')
            assert closed(socket) == ("bad_message", 4400), size


def test_a_person_has_a_limit_of_open_terminals(owner: Any, container: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(tickets, "OPEN_MAX", 2)
    for _ in range(2):
        tickets.issue(by=owner, container=container, session_key="k")
    with pytest.raises(Conflict):
        tickets.issue(by=owner, container=container, session_key="k")
    TerminalSession.objects.update(opened_at=timezone.now() - timedelta(hours=1))
    assert tickets.issue(by=owner, container=container, session_key="k")["ticket"]
