"""Who comes in, and what those hear who do not."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.test import Client
from django.utils import timezone

from machines.api.auth import FAILURES_MAX
from teams.services.tokens import api_token_create
from tests.factories import PASSWORD

PATHS = ["/hosts", "/releases", "/containers", "/jobs"]


def test_anonymous_is_asked_for_a_token(world: Any, assert_problem: Any) -> None:
    for path in PATHS:
        answer = world["anonymous"].get(path)
        assert_problem(answer, 401, "unauthenticated")
        assert answer["WWW-Authenticate"].startswith("Bearer")


def test_anonymous_learns_nothing_of_what_exists(world: Any, assert_problem: Any) -> None:
    assert_problem(world["anonymous"].get(f"/containers/{world.container.pk}"), 401)
    assert_problem(world["anonymous"].post(f"/containers/{world.container.pk}/start"), 401)
    assert_problem(world["anonymous"].delete(f"/containers/{world.container.pk}"), 401)


def test_wrong_expired_and_locked_tokens_are_refused(world: Any, assert_problem: Any) -> None:
    owner = world["owner"]
    _, old = api_token_create(by=None, user=owner.user, name="old", expires_at=timezone.now() - timedelta(seconds=1))
    for token in ("nonsense", "nsw_wrong", owner.token + "x", old, "\u00e4"):
        owner.token, good = token, owner.token
        assert_problem(owner.get("/hosts"), 401, "bad_token")
        owner.token = good
    owner.user.is_active = False
    owner.user.save()
    assert_problem(owner.get("/hosts"), 401, "bad_token")


def test_a_bad_token_is_refused_also_with_a_good_session(world: Any, assert_problem: Any) -> None:
    browser = Client()
    browser.force_login(world["owner"].user)
    assert browser.get("/api/v1/hosts").status_code == 200
    assert_problem(browser.get("/api/v1/hosts", headers={"Authorization": "Bearer nsw_wrong"}), 401, "bad_token")


def test_many_wrong_tokens_are_slowed_down_and_a_good_one_still_passes(world: Any, assert_problem: Any) -> None:
    owner = world["owner"]
    owner.token, good = "nsw_guess", owner.token
    statuses = [owner.get("/hosts").status_code for _ in range(FAILURES_MAX * 2 + 2)]
    assert 429 in statuses and statuses[0] == 401
    answer = next(found for found in (owner.get("/hosts") for _ in range(FAILURES_MAX * 2)) if found.status_code == 429)
    assert_problem(answer, 429, "too_many_attempts")
    assert 1 <= int(answer["Retry-After"]) <= 61
    owner.token = good
    assert owner.get("/hosts").status_code == 200


def test_a_session_needs_the_csrf_token_to_change_something(world: Any, assert_problem: Any) -> None:
    browser = Client(enforce_csrf_checks=True)
    assert browser.login(username="owner", password=PASSWORD)
    path = f"/api/v1/containers/{world.container.pk}/stop"
    assert_problem(browser.post(path), 403, "csrf")
    browser.get("/api/v1/docs")
    token = browser.cookies["csrftoken"].value
    assert browser.post(path, headers={"X-CSRFToken": token}).status_code == 202


def test_a_bearer_token_needs_no_csrf_token(world: Any) -> None:
    owner = world["owner"]
    owner.client = Client(enforce_csrf_checks=True)
    assert owner.post(f"/containers/{world.container.pk}/stop").status_code == 202
