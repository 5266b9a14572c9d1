# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests the box to choose a depth model: its groups, and that updates leave it to the user."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, Route, expect

from benchmarks.service import Service
from tests.console.conftest import Visit
from tests.console.user import DESKTOP

pytestmark = pytest.mark.timeout(400)


def look(page: Page) -> None:
    """Make the page ask for the models, as it does when somebody comes back to it."""
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")


def test_models_are_grouped_and_updates_disturb_nothing(visit: Visit, demo: Service) -> None:
    on_disk = {"builtin-depth"}
    changes: dict[str, object] = {}
    hidden: set[str] = set()

    def change(route: Route) -> None:
        body = route.fetch().json()
        listed = body.get("models")
        if listed is not None:
            body["can_download"] = True
            body["models"] = listed = [each for each in listed if each["key"] not in hidden]
        for model in [body] if listed is None else listed:
            model["is_downloaded"] |= model["key"] in on_disk
            if model["key"] == "large":
                model.update(changes)
        route.fulfill(json=body)

    page = visit(demo, "/health", **DESKTOP)
    page.route(re.compile(r"/api/models[?/]"), change)
    page.goto(demo.url("/ui"))
    box = page.get_by_label("Depth model")
    here, elsewhere = (
        box.locator(f"optgroup[label='{label}'] option") for label in ("On disk", "Not downloaded")
    )
    expect(here).to_have_count(1)
    every = box.locator("option").count()
    assert every > 15
    expect(elsewhere).to_have_count(every - 1)

    box.focus()
    box.select_option("large")
    changes.update(state="downloading")  # its text changes while it is chosen
    look(page)
    expect(box.locator("option[value=large]")).to_contain_text("(downloading)")
    expect(box).to_have_value("large")
    on_disk |= {"large", "base"}  # it moves to the other group
    changes.update(state="not_loaded")
    look(page)
    expect(here).to_have_count(3)
    expect(box.locator("option[value=large]")).to_contain_text("(on disk)")
    expect(elsewhere).to_have_count(every - 3)
    expect(box).to_have_value("large")
    expect(box).to_be_focused()
    hidden |= {"base"}  # a row was removed
    look(page)
    expect(here).to_have_count(2)
    expect(box).to_have_value("large")
    expect(box).to_be_focused()
