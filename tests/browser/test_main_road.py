"""Log in, add a host, create, watch the job, see the journal move, type in the terminal, stop, start, remove."""

from __future__ import annotations

import re
import secrets

import pytest
from playwright.sync_api import Page, expect

import lab
from tests.stack import Stack

pytestmark = pytest.mark.browser
SLOW = 180_000


def create(page: Page, name: str) -> None:
    page.goto("/containers/new/")
    page.get_by_label("Name", exact=True).fill(name)
    page.get_by_role("radio", name=re.compile("Debian 12")).check(force=True)
    page.get_by_role("radio", name=re.compile("^lab1")).check(force=True)
    page.get_by_role("button", name="Create container").click()
    expect(page).to_have_url(re.compile(r"/containers/[0-9a-f-]{36}/"))


def test_from_login_to_a_shell_and_to_the_end(admin: Page, stack: Stack) -> None:
    page = admin
    create(page, "browser1")
    state = page.locator("[data-testid=container-state]").first
    expect(state).to_have_text(re.compile("Running"), timeout=SLOW)

    page.get_by_role("link", name="Journal").click()
    journal = page.locator("[data-testid=journal]")
    expect(journal).to_contain_text("systemd", timeout=20_000)
    stack.hosts["lab1"].run(
        [
            "systemd-run",
            "-q",
            "-M",
            "browser1",
            "--pipe",
            "--wait",
            "--collect",
            "--",
            "logger",
            "a line <b>just</b> now",
        ]
    )
    expect(journal).to_contain_text("a line <b>just</b> now")

    page.get_by_role("link", name="Terminal").first.click()
    screen = page.locator("[data-testid=terminal]")
    expect(screen).to_contain_text("root@browser1:~#", timeout=20_000)
    page.keyboard.type("echo $((6*7))-from-$(hostname)\n")
    expect(screen).to_contain_text("42-from-browser1")
    page.reload()
    expect(screen).to_contain_text("42-from-browser1", timeout=20_000)
    page.keyboard.type("echo still-$((1+1))\n")
    expect(screen).to_contain_text("still-2")

    page.get_by_role("button", name="Stop", exact=True).click()
    expect(state).to_have_text(re.compile("Stopped"), timeout=60_000)
    page.get_by_role("button", name="Start", exact=True).click()
    expect(state).to_have_text(re.compile("Running"), timeout=60_000)

    page.get_by_role("link", name="Settings").click()
    page.get_by_role("button", name=re.compile("Remove")).first.click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("textbox").fill("browser1")
    dialog.get_by_role("button", name=re.compile("Remove")).click()
    page.goto("/containers/")
    expect(page.get_by_role("link", name="browser1", exact=True)).to_have_count(0, timeout=60_000)


def test_a_job_is_followed_while_it_runs(admin: Page) -> None:
    page = admin
    create(page, "watched")
    page.goto("/jobs/")
    page.get_by_role("link", name=re.compile("Create container watched")).first.click()
    expect(page.locator("[data-testid=job-state]").first).to_have_text(re.compile("Succeeded"), timeout=SLOW)
    expect(page.locator("body")).to_contain_text("machinectl clone")


def test_a_host_is_added_by_the_line_that_the_page_shows(admin: Page, stack: Stack) -> None:
    page = admin
    name = f"newcomer-{secrets.token_hex(3)}"
    newcomer = lab.up(name, release="bookworm", var=stack.var)
    try:
        page.goto("/hosts/add/")
        page.get_by_label("Name", exact=True).fill(name)
        page.get_by_role("button", name="Show the line to paste").click()
        line = page.locator("[data-testid=install-line] code").first.inner_text().strip()
        expect(page.locator("body")).to_contain_text(re.compile("waiting", re.I))
        newcomer.run(["sh", "-c", line.replace("localhost", newcomer.gateway)], timeout=300)
        expect(page.locator("body")).to_contain_text(re.compile("connected|online", re.I), timeout=60_000)
    finally:
        lab.down(name, purge=True, var=stack.var)
