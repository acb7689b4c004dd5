"""The style guide in Chromium: every part, at three widths, in both themes; pictures go to test-results/."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest
from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]
from playwright.sync_api import Page, expect

PICTURES = Path("test-results") / "styleguide"
WIDER = "document.documentElement.scrollWidth - document.documentElement.clientWidth"

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280, 1920])
def test_every_part_fits_and_can_be_used_by_all(admin: Page, width: int, theme: Literal["light", "dark"]) -> None:
    admin.set_viewport_size({"width": width, "height": 800})
    admin.emulate_media(color_scheme=theme, reduced_motion="reduce")
    admin.goto("/styleguide/")
    expect(admin.locator("[data-chart-now]").first).to_contain_text("cores")
    PICTURES.mkdir(parents=True, exist_ok=True)
    admin.screenshot(path=PICTURES / f"{width}-{theme}.png", full_page=True)
    assert admin.evaluate(WIDER) <= 0
    violations = Axe().run(admin).response["violations"]
    assert [(found["id"], [node["html"] for node in found["nodes"]]) for found in violations] == []


def test_the_theme_switch_is_kept_before_the_next_paint(admin: Page) -> None:
    admin.goto("/styleguide/")
    admin.emulate_media(color_scheme="light")
    switch = admin.locator("[data-theme-switch]")
    switch.click()
    switch.click()
    expect(admin.locator("html")).to_have_attribute("data-theme", "dark")
    admin.reload(wait_until="commit")
    expect(admin.locator("html")).to_have_attribute("data-theme", "dark")
    switch.click()
    expect(admin.locator("html")).not_to_have_attribute("data-theme", "dark")


def test_destruction_wants_the_name_typed(admin: Page) -> None:
    admin.goto("/styleguide/")
    admin.get_by_role("button", name="Typed confirm").click()
    submit = admin.get_by_role("dialog").get_by_role("button", name="Remove container")
    expect(submit).to_be_disabled()
    admin.get_by_label("Type web1 to confirm").fill("web1")
    expect(submit).to_be_enabled()
    admin.keyboard.press("Escape")
    expect(submit).to_be_hidden()


def test_the_palette_opens_by_key_and_goes_to_a_page(admin: Page) -> None:
    admin.goto("/styleguide/")
    admin.keyboard.press("/")
    admin.locator("[data-palette-input]").fill("audit")
    expect(admin.get_by_role("option", name="Audit")).to_have_attribute("aria-selected", "true")
    admin.keyboard.press("Enter")
    admin.wait_for_url("**/audit/")


def test_the_bulk_bar_counts_a_range_of_ticked_rows(admin: Page) -> None:
    admin.goto("/styleguide/")
    boxes = admin.locator("table[data-select] td input[type=checkbox]")
    boxes.nth(0).check()
    boxes.nth(3).click(modifiers=["Shift"])
    expect(admin.locator("[data-bulk-count]")).to_have_text("4")
    admin.get_by_role("button", name="Clear").click()
    expect(admin.locator("[data-bulk]")).to_be_hidden()
