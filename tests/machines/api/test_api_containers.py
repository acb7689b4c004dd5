"""Containers through the API, by everybody."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from audit.models import AuditEvent
from machines.api.schemas import ContainerOut, CreatedOut
from machines.models import Container
from tasks.models import Job
from teams.models import Role
from tests.factories import (
    BaseImageFactory,
    ContainerFactory,
    HostFactory,
    MembershipFactory,
    ReleaseFactory,
)

ACTS = ["start", "stop", "restart", "kill", "enable", "disable"]
SEES = ["owner", "teammate", "viewer", "lead", "operator", "auditor"]
OPERATES = ["owner", "teammate", "lead", "operator"]
SEES_ONLY = ["viewer", "auditor"]
BLIND = ["stranger", "loner"]


@pytest.mark.parametrize("name", SEES)
def test_members_and_the_site_see_it(world: Any, name: str) -> None:
    answer = world[name].get(f"/containers/{world.container.pk}")
    assert answer.status_code == 200
    found = ContainerOut.model_validate(answer.json())
    assert (found.name, found.host, found.team, found.owner) == ("web1", "srv1", "web", "owner")
    assert (found.release, found.host_online, found.state) == ("debian-bookworm", True, "running")
    assert "web1" in [item["name"] for item in world[name].get("/containers").json()["items"]]


@pytest.mark.parametrize("name", BLIND)
def test_strangers_cannot_tell_it_from_what_is_not_there(world: Any, name: str, assert_problem: Any) -> None:
    pk, nothing = world.container.pk, uuid4()
    for method, path in [("GET", ""), ("DELETE", ""), *(("POST", f"/{act}") for act in ACTS)]:
        real = assert_problem(world[name].call(method, f"/containers/{pk}{path}"), 404, "not_found")
        assert real == assert_problem(world[name].call(method, f"/containers/{nothing}{path}"), 404, "not_found")
    body = {"password": "correct horse 7 battery"}
    assert_problem(world[name].call("PUT", f"/containers/{pk}/password", body), 404)
    assert "web1" not in [item["name"] for item in world[name].get("/containers").json()["items"]]
    assert not Job.objects.exclude(pk=world.job.pk).exists()


@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize("name", OPERATES)
def test_developers_and_operators_act(world: Any, name: str, act: str) -> None:
    answer = world[name].post(f"/containers/{world.container.pk}/{act}", {})
    assert answer.status_code == 202, answer.content
    job = answer.json()["job"]
    assert (job["kind"], job["state"], job["by"]) == (f"container.{act}", "queued", name)
    assert answer["Location"] == f"/api/v1/jobs/{job['id']}"
    assert AuditEvent.objects.filter(action=f"container.{act}", actor_name=name).count() == 1


@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize("name", SEES_ONLY)
def test_who_only_looks_may_not_act(world: Any, name: str, act: str, assert_problem: Any) -> None:
    assert_problem(world[name].post(f"/containers/{world.container.pk}/{act}"), 403, "permission_denied")


@pytest.mark.parametrize(("name", "status"), [("owner", 202), ("lead", 202), ("operator", 202), ("teammate", 403),
                                             ("viewer", 403), ("auditor", 403)])  # fmt: skip
def test_one_removes_ones_own_and_admins_everybodys(world: Any, name: str, status: int) -> None:
    answer = world[name].delete(f"/containers/{world.container.pk}")
    assert answer.status_code == status
    if status == 202:
        assert answer.json()["job"]["kind"] == "container.remove"
        assert world[name].get(f"/containers/{world.container.pk}").json()["state"] == "removing"


@pytest.mark.parametrize("method", ["PUT", "POST"])
def test_the_password_is_set_and_kept_nowhere_in_sight(world: Any, method: str) -> None:
    secret = "correct horse 7 battery"
    answer = world["owner"].call(method, f"/containers/{world.container.pk}/password", {"password": secret})
    assert answer.status_code == 202
    shown = world["owner"].get(f"/jobs/{answer.json()['job']['id']}").content.decode()
    assert secret not in shown and "$6$" not in shown and "hash" not in shown


@pytest.mark.parametrize("name", SEES_ONLY)
def test_who_only_looks_may_not_set_the_password(world: Any, name: str, assert_problem: Any) -> None:
    body = {"password": "correct horse 7 battery"}
    assert_problem(world[name].call("PUT", f"/containers/{world.container.pk}/password", body), 403)


def test_a_weak_password_is_refused_and_not_repeated(world: Any, assert_problem: Any) -> None:
    answer = world["owner"].call("PUT", f"/containers/{world.container.pk}/password", {"password": "zzq"})
    document = assert_problem(answer, 422)
    assert document["errors"] and "zzq" not in answer.content.decode()


# --- create ---

CREATE = {"name": "new1", "host": "srv1", "release": "debian-bookworm"}


@pytest.mark.parametrize("name", ["owner", "teammate", "lead"])
def test_developers_create_in_their_own_team(world: Any, name: str) -> None:
    answer = world[name].post("/containers", CREATE)
    assert answer.status_code == 202, answer.content
    found = CreatedOut.model_validate(answer.json())
    assert (found.container.name, found.container.state, found.container.team) == ("new1", "creating", "web")
    assert (found.job.kind, found.job.container_id, found.container.owner) == (
        "container.create",
        found.container.id,
        name,
    )
    assert AuditEvent.objects.filter(action="container.create", object_id=str(found.container.id)).exists()


def test_an_operator_creates_for_a_team(world: Any) -> None:
    answer = world["operator"].post("/containers", CREATE | {"team": "data", "start": False, "autostart": True})
    assert answer.status_code == 202
    container = Container.objects.get(pk=answer.json()["container"]["id"])
    assert (container.team, container.autostart) == (world.other, True)
    assert Job.objects.get(pk=answer.json()["job"]["id"]).params["start"] is False


@pytest.mark.parametrize("name", ["viewer", "auditor"])
def test_who_only_looks_may_not_create(world: Any, name: str, assert_problem: Any) -> None:
    assert_problem(world[name].post("/containers", CREATE | {"team": "web"}), 403, "permission_denied")


def test_strangers_do_not_create_in_a_team_that_they_do_not_know(world: Any, assert_problem: Any) -> None:
    known = assert_problem(world["stranger"].post("/containers", CREATE | {"team": "web"}), 422, "unknown_team")
    assert known["errors"][0]["field"] == "team"
    other = assert_problem(world["stranger"].post("/containers", CREATE | {"team": "nil"}), 422, "unknown_team")
    assert other["detail"].replace("nil", "web") == known["detail"]


def test_who_is_in_no_team_is_told_to_name_one(world: Any, assert_problem: Any) -> None:
    document = assert_problem(world["loner"].post("/containers", CREATE), 422)
    assert document["errors"][0]["field"] in {"team", "host"}


def test_the_first_team_joined_is_ones_own(world: Any) -> None:
    MembershipFactory(team=world.other, user=world["owner"].user, role=Role.DEVELOPER)
    assert world["owner"].post("/containers", CREATE).json()["container"]["team"] == "web"


def test_a_host_is_named_by_name_or_id(world: Any, assert_problem: Any) -> None:
    by_id = world["owner"].post("/containers", CREATE | {"host": str(world.host.pk)})
    assert by_id.json()["container"]["host"] == "srv1"
    unknown = world["owner"].post("/containers", CREATE | {"host": "srv9"})
    assert assert_problem(unknown, 422, "unknown_host")["errors"][0]["field"] == "host"


def test_without_a_host_the_roomiest_online_one_is_taken(world: Any, assert_problem: Any) -> None:
    wide = HostFactory(name="wide", metrics={"pool_free_bytes": 10**15})
    HostFactory(name="asleep", metrics={"pool_free_bytes": 10**16}, last_seen=timezone.now() - timedelta(hours=1))
    HostFactory(name="gone", metrics={"pool_free_bytes": 10**16}, revoked_at=timezone.now())
    body = {"name": "any1", "release": "debian-bookworm"}
    assert world["owner"].post("/containers", body).json()["container"]["host"] == "wide"
    BaseImageFactory(host=world.host)
    assert world["owner"].post("/containers", body | {"name": "any2"}).json()["container"]["host"] == "srv1"
    for host in (wide, world.host):
        host.last_seen = None
        host.save()
    assert_problem(world["owner"].post("/containers", body | {"name": "any3"}), 409, "no_host_online")


@pytest.mark.parametrize(
    ("change", "status", "code", "field"),
    [
        ({"name": "Bad_Name"}, 422, "name_rule", "name"),
        ({"name": "x" * 300}, 422, "invalid", "name"),
        ({"name": None}, 422, "invalid", "name"),
        ({"name": "web1"}, 409, "name_taken", ""),
        ({"release": "debian-hamm"}, 422, "unknown_release", "release"),
        ({"root_password": "zzq"}, 422, "", "password"),
        ({"start": "perhaps"}, 422, "invalid", "start"),
        ({"memory": "1G"}, 422, "invalid", "memory"),
        ({"name": "a\0b"}, 422, "name_rule", "name"),
        ({"host": "a\0b"}, 422, "invalid", "host"),
        ({"release": "a\0b"}, 422, "invalid", "release"),
    ],
)
def test_bad_input_is_named_and_explained(
    world: Any, change: dict[str, Any], status: int, code: str, field: str, assert_problem: Any
) -> None:
    document = assert_problem(world["owner"].post("/containers", CREATE | change), status, code)
    if field:
        assert field in document["errors"][0]["field"], document
        assert document["errors"][0]["message"]
    assert "zzq" not in str(document)


@pytest.mark.parametrize("body", ["", "{", "[]", '"x"', "null", '{"name": "\\ud800"}', "[" * 100_000])
def test_a_body_that_is_no_object_is_a_problem(world: Any, body: str, assert_problem: Any) -> None:
    answer = world["owner"].post("/containers", body)
    assert answer.status_code in {400, 422}
    assert_problem(answer, answer.status_code)


def test_an_inactive_release_is_unknown(world: Any, assert_problem: Any) -> None:
    ReleaseFactory(slug="debian-potato", active=False)
    assert_problem(world["owner"].post("/containers", CREATE | {"release": "debian-potato"}), 422, "unknown_release")


# --- lists ---


def names(answer: Any) -> list[str]:
    assert answer.status_code == 200, answer.content
    return [item["name"] for item in answer.json()["items"]]


def test_filters(world: Any, assert_problem: Any) -> None:
    srv2 = HostFactory(name="srv2")
    ContainerFactory(name="api1", host=srv2, team=world.team, state="stopped", owner=world["teammate"].user)
    operator, owner = world["operator"], world["owner"]
    assert names(operator.get("/containers")) == ["api1", "db1", "web1"]
    assert names(operator.get("/containers", q="web1")) == ["web1"]
    assert names(operator.get("/containers", host="srv2")) == ["api1"]
    assert names(operator.get("/containers", host=str(srv2.pk))) == ["api1"]
    assert names(operator.get("/containers", team="data")) == ["db1"]
    assert names(operator.get("/containers", state="stopped")) == ["api1"]
    assert names(owner.get("/containers", mine="true")) == ["web1"]
    assert_problem(owner.get("/containers", team="data"), 422, "unknown_team")
    assert_problem(owner.get("/containers", state="purple"), 422, "invalid")
    assert_problem(owner.get("/containers", limit="0"), 422, "invalid")
    for name in ("q", "host", "team", "cursor"):
        assert_problem(owner.get("/containers", **{name: "a\0"}), 422, "invalid")


def test_removed_ones_are_gone(world: Any, assert_problem: Any) -> None:
    world.container.removed_at = timezone.now()
    world.container.save()
    assert names(world["owner"].get("/containers")) == []
    assert_problem(world["owner"].get(f"/containers/{world.container.pk}"), 404)
    assert_problem(world["owner"].post(f"/containers/{world.container.pk}/start"), 404)


def test_a_cursor_walks_over_all_once_also_when_names_repeat(world: Any) -> None:
    hosts = [HostFactory() for _ in range(5)]
    made = {str(ContainerFactory(name=f"n{n // 5}", host=hosts[n % 5], team=world.team).pk) for n in range(23)}
    seen: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        page = world["owner"].get("/containers", limit=4, **({"cursor": cursor} if cursor else {})).json()
        assert len(page["items"]) <= 4
        seen += [item["id"] for item in page["items"]]
        cursor = page["next"]
    assert len(seen) == len(set(seen)) == 24
    assert set(seen) == made | {str(world.container.pk)}


@pytest.mark.parametrize("cursor", ["nonsense", "WyJhIl0", "WyJhIiwiYiJd:x", "%00", "a" * 999])
def test_a_made_up_cursor_is_refused(world: Any, cursor: str, assert_problem: Any) -> None:
    assert_problem(world["owner"].get("/containers", cursor=cursor), 422, "bad_cursor")


def test_a_cursor_of_another_list_is_refused(world: Any, assert_problem: Any) -> None:
    for n in range(3):
        HostFactory(name=f"h{n}")
    cursor = world["owner"].get("/hosts", limit=1).json()["next"]
    assert_problem(world["owner"].get("/containers", cursor=cursor), 422, "bad_cursor")


def test_a_long_list_takes_few_queries(world: Any) -> None:
    ContainerFactory.create_batch(60, host=world.host, team=world.team, owner=world["owner"].user)
    with CaptureQueriesContext(
        connection,
    ) as few:
        assert len(names(world["owner"].get("/containers", limit=50))) == 50
    assert len(few) <= 5, [query["sql"][:120] for query in few]
    with CaptureQueriesContext(connection) as one:
        assert world["owner"].get(f"/containers/{world.container.pk}").status_code == 200
    assert len(one) <= 5, [query["sql"][:120] for query in one]
