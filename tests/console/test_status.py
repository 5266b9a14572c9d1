# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests the console's panel, which shows whether the service is ready, and manages its models."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from playwright.sync_api import Page, Route, expect

from benchmarks.service import Service
from tests.console.conftest import Visit
from tests.console.user import DESKTOP

# This script shortens the timeouts of requests to a twentieth.
SHORT_TIMEOUTS = """
const { set } = Object.getOwnPropertyDescriptor(XMLHttpRequest.prototype, "timeout");
Object.defineProperty(XMLHttpRequest.prototype, "timeout", {
    set(ms) { set.call(this, ms / 20); },
});
"""
pytestmark = pytest.mark.timeout(600)


def look(page: Page) -> None:
    """Make the page refresh now, as it does when its tab comes to the front."""
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")


ANSWERS: list[dict[str, Any] | None] = [
    {"status": 502, "json": {"error": "Refused by the proxy", "message": "It is down"}},
    {"status": 503, "json": {"error": "Refused by the proxy", "message": "It is down"}},
    {"status": 503, "body": "no available server", "content_type": "text/plain"},
    None,  # no answer at all, as from a frozen service
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
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    row = page.get_by_role("listitem").filter(has_text="Twinlens built-in CLIP")
    row.get_by_role("button", name="Unload Twinlens built-in CLIP").click()
    row.get_by_role("button", name="Load Twinlens built-in CLIP").click()
    row.get_by_role("button", name="Unload Twinlens built-in CLIP").wait_for()
    expect(page.locator("#facts")).to_contain_text(demo.get("/").json()["version"])
    expect(row.get_by_role("button", name="Delete")).to_be_hidden()  # a built-in model stays
    expect(page.locator("#pulse")).to_have_text("ready")
    page.wait_for_timeout(1500)  # what the last button had it ask is answered
    asked.clear()
    page.wait_for_timeout(6000)
    assert not asked, "nothing changes, so it asks for nothing"
    look(page)
    page.wait_for_timeout(500)
    assert asked


def test_without_the_hub_no_download_is_offered(visit: Visit, demo: Service) -> None:
    page = visit(demo, **DESKTOP)
    lost = page.get_by_role("listitem").filter(has_text="Depth Anything V2 Base")
    expect(lost).to_contain_text("not on disk, and nothing is downloaded")
    expect(lost.get_by_role("button")).to_have_count(0)
    expect(page.get_by_role("button", name="Download")).to_have_count(0)
    expect(page.locator("#offline")).to_contain_text("HF_HUB_OFFLINE is set")
    expect(page.locator("#offline")).to_contain_text("stop it (Ctrl+C) and type make run")


def test_a_folder_that_is_missing_is_not_blamed_on_the_hub(visit: Visit, demo: Service) -> None:
    """A model of the operator's own lies in a folder, which the hub does not have either."""

    def change(route: Route) -> None:
        body = route.fetch().json()
        (large,) = [model for model in body["models"] if model["key"] == "large"]
        large.update(
            huggingface_id="built-in", reason="its path in the table of models lacks files"
        )
        route.fulfill(json=body)

    page = visit(demo, "/health", **DESKTOP)
    page.route("**/api/models?type=all", change)
    page.goto(demo.url("/ui"))
    lost = page.get_by_role("listitem").filter(has_text="Depth Anything V2 Large")
    expect(lost).to_contain_text("its path in the table of models lacks files")
    expect(lost).not_to_contain_text("nothing is downloaded")
    page.get_by_label("Depth model").select_option("large")
    note = page.locator("#depth-model-note")
    expect(note).to_contain_text("its path in the table of models lacks files")
    expect(note).not_to_contain_text("HF_HUB_OFFLINE")


def test_a_service_that_is_not_ready_says_why(
    visit: Visit, another: Callable[..., Service]
) -> None:
    """The service is not ready, because its default model is not on disk; its depth model works."""
    service = another(DEFAULT_MODEL="ViT-L-14")
    assert service.get("/ready").status_code == 503
    page = visit(service, **DESKTOP)
    pulse = page.locator("#pulse")
    expect(pulse).to_have_text("not ready for search")
    expect(pulse).to_have_attribute("data-state", "ill")
    state = page.locator("#state")
    expect(state).to_contain_text("CLIP ViT-L-14 (OpenAI) is not there. This service downloads")
    state.get_by_role("button", name="Use the built-in model for search").click()
    expect(page.locator("#clip-model")).to_have_value("builtin-clip")
    expect(state.get_by_role("button")).to_have_count(0)
    expect(page.locator("#facts")).to_contain_text("HF_HUB_OFFLINE is set")


def test_the_built_in_model_is_offered_for_what_is_still_lacking(
    visit: Visit, another: Callable[..., Service]
) -> None:
    page = visit(another(DEFAULT_MODEL="ViT-L-14", DEPTH_MODEL="small"), **DESKTOP)
    pulse, state = page.locator("#pulse"), page.locator("#state")
    expect(pulse).to_have_text("not ready for search")
    state.get_by_role("button", name="Use the built-in model for search").wait_for()
    # The box is in the gallery, which is there only with several photos.
    page.locator("#clip-model").select_option("builtin-clip", force=True)
    expect(pulse).to_have_text("not ready for depth")
    state.get_by_role("button", name="Use the built-in model for depth").click()
    expect(page.locator("#depth-model")).to_have_value("builtin-depth")
    expect(state.get_by_role("button")).to_have_count(0)
    expect(page.locator("#clip-model")).to_have_value("builtin-clip")


def test_a_service_that_lacks_its_depth_model_is_not_well(
    visit: Visit, another: Callable[..., Service]
) -> None:
    service = another(DEPTH_MODEL="small")
    service.wait_until_ready()
    page = visit(service, **DESKTOP)
    pulse = page.locator("#pulse")
    expect(pulse).to_have_text("not ready for depth")
    expect(pulse).to_have_attribute("data-state", "ill")
