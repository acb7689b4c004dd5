"""The audit chain: every tampering shows, at its place; act and row stand or fall together."""

from __future__ import annotations

import io
import threading

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from django.test import Client

from audit.context import request_context
from audit.middleware import client_ip
from audit.models import AuditEvent, AuditHead
from audit.services import record, verify
from tests.factories import PASSWORD, UserFactory


def ten_rows() -> list[AuditEvent]:
    user = UserFactory(username="maker")
    return [record(by=user, action="thing.make", object_name=f"t{n}", detail={"n": n, "half": 0.5}) for n in range(10)]


@pytest.mark.django_db
def test_an_untouched_chain_is_whole() -> None:
    rows = ten_rows()
    assert [row.seq for row in rows] == list(range(1, 11))
    assert verify() == []


@pytest.mark.django_db
@pytest.mark.parametrize(
    "change",
    [
        {"actor_name": "somebody"},
        {"action": "thing.unmake"},
        {"object_name": "other"},
        {"detail": {"n": 99}},
        {"ip": "192.0.2.9"},
        {"team_id": 7},
        {"actor_key": None},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_changed_row_shows(change: dict[str, object]) -> None:
    ten_rows()
    AuditEvent.objects.filter(seq=5).update(**change)
    assert [(p.seq, p.what) for p in verify()] == [(5, "the row was changed after it was written")]


@pytest.mark.django_db
def test_a_missing_row_shows() -> None:
    ten_rows()
    AuditEvent.objects.filter(seq=5).delete()
    assert [(p.seq, p.what) for p in verify()] == [(6, "rows 5 to 5 are missing")]


@pytest.mark.django_db
def test_a_row_that_was_rewritten_with_a_fitting_hash_shows_at_the_next() -> None:
    from audit.services import row_hash

    ten_rows()
    row = AuditEvent.objects.get(seq=5)
    row.action = "nothing.happened"
    row.hash = row_hash(row.prev_hash, row)
    row.save()
    assert [(p.seq, p.what) for p in verify()] == [(6, "the row does not follow the one before it")]


@pytest.mark.django_db
def test_rows_cut_off_the_end_show_against_the_head() -> None:
    ten_rows()
    AuditEvent.objects.filter(seq__gt=7).delete()
    assert [p.seq for p in verify()] == [10]


@pytest.mark.django_db
def test_a_deleted_account_does_not_break_the_chain() -> None:
    ten_rows()
    User.objects.get(username="maker").delete()
    assert verify() == []
    assert AuditEvent.objects.get(seq=1).actor_name == "maker"


@pytest.mark.django_db
def test_what_no_database_holds_is_made_holdable() -> None:
    row = record(by=None, action="x", actor_name="a\0b", detail={"text": "c\0d", "key": object})
    row.refresh_from_db()
    assert row.actor_name == "a\ufffdb" and row.detail["text"] == "c\ufffdd"
    assert verify() == []


@pytest.mark.django_db
def test_a_row_is_undone_with_its_act() -> None:
    record(by=None, action="one")
    with pytest.raises(RuntimeError), transaction.atomic():
        record(by=None, action="two")
        raise RuntimeError
    record(by=None, action="three")
    assert list(AuditEvent.objects.order_by("seq").values_list("seq", "action")) == [(1, "one"), (2, "three")]
    assert verify() == []


@pytest.mark.django_db(transaction=True)
def test_writers_at_once_make_one_chain() -> None:
    def write(n: int) -> None:
        try:
            for m in range(10):
                record(by=None, action="race", object_name=f"{n}.{m}")
        finally:
            connection.close()

    threads = [threading.Thread(target=write, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert AuditEvent.objects.count() == 60 == AuditHead.objects.get().seq
    assert verify() == []


@pytest.mark.django_db
def test_the_command_tells_the_head_and_fails_when_the_chain_is_broken() -> None:
    ten_rows()
    out = io.StringIO()
    call_command("audit_verify", stdout=out)
    assert AuditHead.objects.get().hash in out.getvalue()
    AuditEvent.objects.filter(seq=3).update(action="x")
    err = io.StringIO()
    with pytest.raises(CommandError):
        call_command("audit_verify", stderr=err)
    assert "row 3" in err.getvalue()


@pytest.mark.django_db
def test_a_row_carries_where_its_request_came_from() -> None:
    with request_context("abc", "192.0.2.1"):
        row = record(by=None, action="x")
    assert (row.request_id, row.ip) == ("abc", "192.0.2.1")
    assert record(by=None, action="y").request_id == ""


@pytest.mark.django_db
def test_every_answer_has_its_request_id_and_takes_none_from_outside(client: Client) -> None:
    response = client.get("/accounts/login/", headers={"X-Request-ID": "mine"})
    assert len(response["X-Request-ID"]) == 32
    assert response["X-Request-ID"] != client.get("/accounts/login/")["X-Request-ID"]


@pytest.mark.django_db
def test_login_failed_login_and_logout_are_on_the_trail(client: Client, owner: User) -> None:
    def login(password: str) -> None:
        client.post("/accounts/login/", {"login": "owner", "password": password})

    login("wrong")
    login(PASSWORD)
    client.post("/accounts/logout/")
    rows = list(AuditEvent.objects.order_by("seq").values_list("action", "actor_name", "ip"))
    assert rows == [
        ("login.failed", "owner", "127.0.0.1"),
        ("login", "owner", "127.0.0.1"),
        ("logout", "owner", "127.0.0.1"),
    ]
    assert "wrong" not in str([row.__dict__ for row in AuditEvent.objects.all()])


@pytest.mark.parametrize(
    ("proxies", "forwarded", "ip"),
    [
        (0, "203.0.113.5", "192.0.2.1"),
        (1, "203.0.113.5", "203.0.113.5"),
        (1, "198.51.100.66, 203.0.113.5", "203.0.113.5"),
        (2, "198.51.100.66, 203.0.113.5", "198.51.100.66"),
        (1, "nonsense", None),
        (1, "", "192.0.2.1"),
    ],
)
def test_a_forwarded_address_counts_only_as_far_as_our_own_proxies_wrote_it(
    proxies: int, forwarded: str, ip: str | None, settings: object
) -> None:
    settings.TRUSTED_PROXIES = proxies  # type: ignore[attr-defined]
    assert client_ip("192.0.2.1", forwarded) == ip
