"""Debian's Chromium over the running stack."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import ConsoleMessage, Page, expect

from tests.stack import Stack
from tests.stack_fixture import empty_hosts as empty_hosts

expect.set_options(timeout=10_000)


@pytest.fixture(scope="session")
def browser_type_launch_args() -> dict[str, Any]:
    return {
        "executable_path": "/usr/bin/chromium",
        "args": ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-quic"],
    }


@pytest.fixture(scope="session")
def base_url(stack: Stack) -> str:
    return stack.url


@pytest.fixture
def browser_context_args(browser_context_args: dict[str, Any], stack: Stack) -> dict[str, Any]:
    return {
        **browser_context_args,
        "base_url": stack.url,
        "viewport": {"width": 1280, "height": 800},
        "permissions": ["clipboard-read", "clipboard-write"],
    }


def is_complaint(message: ConsoleMessage) -> bool:
    """An error, but for what htmx says of a request that ended because the test went to another page."""
    return message.type == "error" and not message.text.startswith(
        ("htmx:afterRequest", "htmx:sendError", "htmx:sendAbort")
    )


@pytest.fixture
def admin(page: Page, stack: Stack) -> Iterator[Page]:
    """A page logged in as the administrator; the test fails on any console error or refused resource."""
    complaints: list[str] = []

    def heard(message: ConsoleMessage) -> None:
        if is_complaint(message):
            complaints.append(f"{message.text} ({message.location.get('url')})")

    page.on("console", heard)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto("/accounts/login/")
    page.get_by_label("Username").fill("admin")
    page.get_by_label("Password").fill(stack.password)
    page.get_by_role("button", name="Log in").click()
    expect(page).not_to_have_url(f"{stack.url}/accounts/login/")
    yield page
    assert complaints == []
