# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests accessibility: axe finds no fault, and a keyboard or a narrow window is enough."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from benchmarks.service import Service
from tests.console.conftest import Visit
from tests.console.user import DESKTOP, PHONE, choose, photo, still, wait_for_cards, wait_for_depth

pytestmark = pytest.mark.timeout(600)


def check(page: Page, place: Path) -> None:
    """Check a page with axe and for sideways scrolling, and save a screenshot for people."""
    results = Axe().run(page)
    page.screenshot(path=place, full_page=True)
    assert results.violations_count == 0, results.generate_report()
    width = page.viewport_size["width"] if page.viewport_size else 0
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_axe_finds_nothing(
    visit: Visit, demo: Service, size: dict[str, object], scheme: str, tmp_path: Path
) -> None:
    page = visit(demo, color_scheme=scheme, **size)
    page.get_by_role("listitem").first.wait_for()
    check(page, tmp_path / "start.png")
    choose(page, ("lake.jpg", photo()))
    wait_for_depth(page)
    check(page, tmp_path / "depth.png")
    choose(page, ("a.jpg", photo()), ("broken.jpg", b"nothing"), ("b.jpg", photo(9010)))
    wait_for_cards(page, 2)
    page.get_by_label("Find by words").fill("a lake")
    page.get_by_role("button", name="Search").click()
    page.get_by_text("Best for “a lake”: ").wait_for()
    page.locator("#labels-words").fill("a lake, a dog")
    page.locator("#labels-words").press("Enter")
    page.get_by_role("button", name="Remove labels").wait_for()
    expect(page.get_by_role("list", name="labels of").get_by_role("listitem")).to_have_count(4)
    check(page, tmp_path / "gallery.png")
    page.get_by_role("button", name="Stereo: a stereo pair of a.jpg").click()
    page.get_by_role("img", name="What was made").wait_for()
    page.get_by_text("The same in a terminal").last.click()
    check(page, tmp_path / "stereo.png")
    choose(page, ("broken.jpg", b"nothing"))
    page.locator("#depth-activity.failed").wait_for()
    check(page, tmp_path / "error.png")


def test_a_narrow_phone_needs_no_sideways_scrolling(visit: Visit, demo: Service) -> None:
    page = visit(demo, phone=True, viewport={"width": 360, "height": 640})
    choose(page, ("a-name-that-is-far-too-long-for-any-phone" * 3 + ".jpg", photo()))
    wait_for_depth(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert page.evaluate("innerWidth") == 360
    for target in page.get_by_role("button").all() + page.locator("label:has(.swatch)").all():
        box = target.bounding_box()
        assert box is None or min(box["width"], box["height"]) >= 44


def test_the_keyboard_is_enough(visit: Visit, demo: Service) -> None:
    page = visit(demo, **DESKTOP)
    page.locator("#models li").first.wait_for()
    keyboard = page.keyboard

    def tab_to(role: str, name: str) -> None:
        for _ in range(20):
            keyboard.press("Tab")
            if page.get_by_role(role, name=name).and_(page.locator(":focus")).count():  # type: ignore[arg-type]
                return
        raise AssertionError(f"Tab does not lead to {role} {name}")

    tab_to("combobox", "Depth model")
    keyboard.press("Shift+Tab")
    expect(page.get_by_role("button", name="Try the example")).to_be_focused()
    keyboard.press("Enter")
    wait_for_depth(page)
    expect(page.get_by_role("heading", name="Depth of example.jpg")).to_be_focused()
    tab_to("slider", "Where the photo ends and its depth begins")
    keyboard.press("ArrowRight")
    expect(page.locator("#compare input")).to_have_value("51")
    tab_to("application", "The photo in 3D")
    ahead = still(page.locator("#scene"))
    keyboard.press("ArrowLeft")
    assert not np.array_equal(still(page.locator("#scene")), ahead)
    tab_to("radio", "grey")
    keyboard.press("ArrowRight")
    expect(page.get_by_role("radio", name="inferno")).to_be_checked()
    tab_to("slider", "3D strength")
    tab_to("link", "Download PNG")
    # The console starts to make the file when a colour is chosen.
    expect(page.locator("#download")).to_have_attribute("download", re.compile("inferno"))
    with page.expect_download() as download:
        keyboard.press("Enter")
    assert download.value.suggested_filename == "depth_example_inferno.png"
    tab_to("button", "Unload Twinlens built-in CLIP")
