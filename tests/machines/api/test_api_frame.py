"""Hosts, releases, the OpenAPI document, its page, and the ways to go wrong."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.test import Client

from machines.api import containers, problems
from tests.factories import BaseImageFactory, HostFactory


@pytest.mark.parametrize("name", ["owner", "viewer", "operator", "auditor", "stranger"])
def test_everybody_in_a_team_sees_hosts(world: Any, name: str) -> None:
    HostFactory(name="fresh", enrolled_at=None)
    items = world[name].get("/hosts").json()["items"]
    assert [(item["name"], item["online"]) for item in items] == [("srv1", True)]
    assert items[0]["cpus"] == 8 and items[0]["pool_free_bytes"] > 0
    assert items[0]["id"] == str(world.host.pk)


def test_who_is_in_no_team_sees_no_host(world: Any) -> None:
    assert world["loner"].get("/hosts").json() == {"items": [], "next": None}


def test_releases_say_where_they_are_built(world: Any) -> None:
    BaseImageFactory(host=world.host)
    items = {item["slug"]: item for item in world["owner"].get("/releases").json()["items"]}
    assert items["debian-bookworm"]["built_on"] == ["srv1"]
    assert items["debian-bookworm"]["suite"] == "bookworm"


@pytest.mark.parametrize("path", ["/nothing", "/containers/", "/containers/not-an-id", "/containers/1/2/3", "/"])
def test_unknown_addresses_are_problems(world: Any, path: str, assert_problem: Any) -> None:
    assert_problem(world["owner"].get(path), 404, "not_found")
    assert_problem(world["anonymous"].get(path), 404, "not_found")


def test_wrong_methods_are_problems(world: Any, assert_problem: Any) -> None:
    answer = world["owner"].call("PUT", "/containers", {})
    assert "not possible" in assert_problem(answer, 405, "method_not_allowed")["detail"]
    assert set(answer["Allow"].replace(" ", "").split(",")) == {"GET", "POST"}
    assert_problem(world["owner"].get(f"/containers/{world.container.pk}/start"), 405)


def test_a_fault_of_ours_is_a_problem_without_its_insides(
    world: Any, monkeypatch: pytest.MonkeyPatch, assert_problem: Any
) -> None:
    def broken(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError("inside secret")

    monkeypatch.setattr(containers, "find_containers", broken)
    answer = world["owner"].get("/containers")
    assert "secret" not in answer.content.decode()
    assert answer["X-Request-ID"] in assert_problem(answer, 500, "internal")["hint"]


def test_the_openapi_document_tells_of_every_operation(world: Any) -> None:
    schema = Client().get("/api/v1/openapi.json").json()
    paths = {path: set(operations) for path, operations in schema["paths"].items()}
    ident = "/api/v1/containers/{ident}"
    assert paths["/api/v1/containers"] == {"get", "post"}
    assert paths[ident] == {"get", "delete"}
    assert {path.removeprefix(f"{ident}/") for path in paths if path.startswith(f"{ident}/")} == {
        "start", "stop", "restart", "kill", "enable", "disable", "password",
    }  # fmt: skip
    for path in ("/hosts", "/releases", "/jobs", "/jobs/{ident}", "/jobs/{ident}/events", "/jobs/{ident}/cancel"):
        assert f"/api/v1{path}" in paths
    for operations in schema["paths"].values():
        for operation in operations.values():
            assert operation["summary"] and operation["security"]
            assert problems.CONTENT_TYPE in operation["responses"]["default"]["content"]
    assert "202" in schema["paths"]["/api/v1/containers"]["post"]["responses"]
    assert schema["components"]["schemas"]["CreateBody"]["additionalProperties"] is False
    names = {operation["operationId"] for operations in schema["paths"].values() for operation in operations.values()}
    assert len(names) == sum(map(len, schema["paths"].values()))
    assert {part["type"] for part in schema["components"]["securitySchemes"].values()} == {"http", "apiKey"}
    dangling = set(re.findall(r'"#/components/schemas/([^"]+)"', str(schema).replace("'", '"')))
    assert dangling <= set(schema["components"]["schemas"])


def test_the_page_of_the_api_runs_under_the_content_security_policy(world: Any) -> None:
    answer = Client().get("/api/v1/docs")
    page = answer.content.decode()
    assert answer.status_code == 200
    policy = answer["Content-Security-Policy"]
    assert "script-src 'self'" in policy and "unsafe" not in policy
    scripts = re.findall(r"<script([^>]*)>", page)
    assert all("src=" in script or 'type="application/json"' in script for script in scripts)
    sources = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert sources and all(source.startswith("/static/") for source in sources)
    assert "style=" not in page and "<style" not in page
