# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests that the console asks for SERVICE_API_KEY and keeps it only for the tab."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from benchmarks.service import Service
from tests.console.conftest import Visit
from tests.console.test_accessibility import check
from tests.console.user import choose, photo, wait_for_depth

pytestmark = pytest.mark.timeout(600)
KEY = "schlüssel und riegel"
PHOTO = photo(width=80, height=60)  # the CPU draws its scene


@pytest.fixture(scope="module")
def service(built_in: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Run a service with a key."""
    service = Service(
        tmp_path_factory.mktemp("key") / "log",
        HF_HUB_CACHE=built_in,
        HF_HUB_OFFLINE=1,
        DEPTH_MODEL="builtin-depth",
        ENABLED_FAMILIES="depth",
        SERVICE_API_KEY=KEY,
    )
    with service.started():
        service.wait_for("/health", 200)
        yield service


def test_the_key_is_asked_for_and_kept_for_the_tab_only(visit: Visit, service: Service) -> None:
    page = visit(service, device_scale_factor=0.5)
    dialog = page.get_by_role("dialog", name="This service has a key")
    expect(dialog.get_by_label("Key", exact=True)).to_be_focused()
    page.keyboard.type("wrong")
    page.keyboard.press("Enter")
    expect(dialog.get_by_role("alert")).to_have_text("The service did not accept this key.")
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    page.get_by_role("button", name="Enter the key").click()
    dialog.get_by_label("Key", exact=True).fill(KEY)
    dialog.get_by_role("button", name="Continue").click()
    choose(page, ("lake.jpg", PHOTO))
    wait_for_depth(page)
    page.get_by_role("button", name="Show in 3D").click()
    page.frame_locator("#scene-place iframe").locator("#controls").wait_for()
    page.reload()
    page.get_by_role("listitem").first.wait_for()
    expect(dialog).to_be_hidden()
    assert page.evaluate("localStorage.length") == 0
    assert page.context.cookies() == []
    tab = page.context.new_page()
    tab.goto(service.url("/ui"))
    expect(tab.get_by_role("dialog")).to_be_visible()
    page.get_by_role("button", name="Forget the key").click()
    page.get_by_role("button", name="Enter the key").wait_for()
    assert page.evaluate("sessionStorage.length") == 0
    assert KEY not in service.text()


def test_the_key_works_where_the_browser_stores_nothing(visit: Visit, service: Service) -> None:
    page = visit(service, "/health")
    page.add_init_script(
        """for (const name of ["sessionStorage", "localStorage"]) {
            Object.defineProperty(window, name, {
                get() { throw new DOMException("blocked", "SecurityError"); },
            });
        }"""
    )
    page.goto(service.url("/ui"))
    dialog = page.get_by_role("dialog", name="This service has a key")
    dialog.get_by_label("Key", exact=True).fill(KEY)
    dialog.get_by_role("button", name="Continue").click()
    choose(page, ("lake.jpg", PHOTO))
    wait_for_depth(page)
    page.get_by_role("button", name="Forget the key").click()
    page.get_by_role("button", name="Enter the key").wait_for()


def test_what_was_declined_is_asked_again_when_it_is_needed(
    visit: Visit, service: Service, tmp_path: Path
) -> None:
    page = visit(service, phone=True)
    dialog = page.get_by_role("dialog")
    dialog.wait_for()
    check(page, tmp_path / "key.png")
    dialog.get_by_role("button", name="Not now").tap()
    expect(dialog).to_be_hidden()
    choose(page, ("lake.jpg", PHOTO))
    dialog.get_by_role("button", name="Not now").tap()
    expect(page.locator("#depth-activity")).to_contain_text("Send the key of this service")
