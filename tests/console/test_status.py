# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""The panel of the service: whether it is there, and its models to manage."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
from playwright.sync_api import Page, Route, expect

from benchmarks.service import Service
from tests.console.conftest import Visit
from tests.console.user import DESKTOP

# A second lasts a twentieth of it.
SHORT_TIMEOUTS = """
const { set } = Object.getOwnPropertyDescriptor(XMLHttpRequest.prototype, "timeout");
Object.defineProperty(XMLHttpRequest.prototype, "timeout", {
    set(ms) { set.call(this, ms / 20); },
});
"""
pytestmark = pytest.mark.timeout(400)


def look(page: Page) -> None:
    """As when the tab comes to the front: the page asks now."""
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")


ANSWERS: list[dict[str, Any] | None] = [
    {"status": 502, "json": {"error": "Refused by the proxy", "message": "It is down"}},
    {"status": 503, "json": {"error": "Refused by the proxy", "message": "It is down"}},
    {"status": 503, "body": "no available server", "content_type": "text/plain"},
    None,  # it is frozen
]


def test_a_service_that_is_down_behind_a_proxy_is_not_ready(visit: Visit, demo: Service) -> None:
    page = visit(demo, "/health", **DESKTOP)
    page.add_init_script(SHORT_TIMEOUTS)
    page.goto(demo.url("/ui"))
    pulse = page.locator("#pulse")
    expect(pulse).to_have_text("ready")

    def answer(route: Route, given: dict[str, Any] | None) -> None:
        if given:
            route.fulfill(**given)

    for given in ANSWERS:
        page.route("**/health", partial(answer, given=given))
        look(page)
        expect(pulse).to_have_text("not reachable")
        page.unroute("**/health")
        look(page)
        expect(pulse).to_have_text("ready")


def test_models_are_managed_from_the_panel(visit: Visit, demo: Service) -> None:
    page = visit(demo, **DESKTOP)
    row = page.get_by_role("listitem").filter(has_text="Twinlens built-in CLIP")
    row.get_by_role("button", name="Unload Twinlens built-in CLIP").click()
    row.get_by_role("button", name="Load Twinlens built-in CLIP").click()
    row.get_by_role("button", name="Unload Twinlens built-in CLIP").wait_for()
    lost = page.get_by_role("listitem").filter(has_text="Depth Anything V2 Base")
    lost.get_by_role("button").click()
    expect(lost.get_by_role("status")).to_contain_text("HF_HUB_OFFLINE is set")
    expect(page.locator("#facts")).to_contain_text(demo.get("/").json()["version"])
