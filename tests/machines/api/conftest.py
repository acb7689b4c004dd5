"""A small world seen through the API by each kind of person."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.cache import cache
from django.test import Client

from machines.models import Container, Host
from tasks.models import Job
from teams.models import Role, SiteRole, SiteRoleName, Team
from teams.services.tokens import api_token_create
from tests.factories import (
    ContainerFactory,
    HostFactory,
    JobFactory,
    MembershipFactory,
    ReleaseFactory,
    TeamFactory,
    UserFactory,
)

MEMBERS = {"owner": Role.DEVELOPER, "teammate": Role.DEVELOPER, "viewer": Role.VIEWER, "lead": Role.ADMIN}
SITE = {"operator": SiteRoleName.OPERATOR, "auditor": SiteRoleName.AUDITOR}


@dataclass
class Caller:
    """The API as one person, by bearer token."""

    user: User | None
    token: str = ""
    client: Client = field(default_factory=lambda: Client(raise_request_exception=False))

    def call(self, method: str, path: str, body: Any = None, **query: Any) -> Any:
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        more = {"data": query} if method == "GET" else {"data": body, "content_type": "application/json"}
        return getattr(self.client, method.lower())(f"/api/v1{path}", headers=headers, **more)

    def get(self, path: str, **query: Any) -> Any:
        return self.call("GET", path, **query)

    def post(self, path: str, body: Any = None) -> Any:
        return self.call("POST", path, body)

    def delete(self, path: str) -> Any:
        return self.call("DELETE", path)


@dataclass
class World:
    team: Team
    other: Team
    host: Host
    container: Container
    foreign: Container
    """Of the other team, on the same host."""
    job: Job
    people: dict[str, Caller]

    def __getitem__(self, name: str) -> Caller:
        return self.people[name]


def caller(name: str) -> Caller:
    user = UserFactory(username=name)
    _, token = api_token_create(by=None, user=user, name="test")
    return Caller(user, token)


@pytest.fixture
def world(db: None) -> Iterator[World]:
    cache.clear()
    team, other = TeamFactory(slug="web", name="Web"), TeamFactory(slug="data", name="Data")
    people = {name: caller(name) for name in (*MEMBERS, *SITE, "stranger", "loner")}
    for name, role in MEMBERS.items():
        MembershipFactory(team=team, user=people[name].user, role=role)
    MembershipFactory(team=other, user=people["stranger"].user, role=Role.ADMIN)
    for name, site_role in SITE.items():
        SiteRole.objects.create(user=people[name].user, role=site_role)
    people["anonymous"] = Caller(None)
    host, release = HostFactory(name="srv1"), ReleaseFactory()
    container = ContainerFactory(name="web1", host=host, team=team, owner=people["owner"].user, release=release)
    foreign = ContainerFactory(name="db1", host=host, team=other, owner=people["stranger"].user, release=release)
    job = JobFactory(container=container, by=people["owner"].user, kind="container.start")
    yield World(team, other, host, container, foreign, job, people)
    cache.clear()


def assert_problem(answer: Any, status: int, code: str = "") -> dict[str, Any]:
    """RFC 9457, in the shape that the API promises. Gives the document."""
    assert answer.status_code == status, answer.content
    assert answer["Content-Type"] == "application/problem+json"
    document = answer.json()
    assert set(document) == {"type", "title", "status", "detail", "code", "hint", "errors"}
    assert document["status"] == status
    assert document["type"] == f"urn:nspawnweb:problem:{document['code']}"
    assert document["detail"] and document["title"]
    assert not code or document["code"] == code, document
    return dict(document)


@pytest.fixture(name="assert_problem")
def assert_problem_fixture() -> Any:
    return assert_problem
