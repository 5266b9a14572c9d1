# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests the console when photos, decodes, colours or the example arrive late or not at all."""

from __future__ import annotations

import numpy as np
import pytest
from playwright.sync_api import Page, Route, expect

from benchmarks.service import Service
from tests.console.conftest import Visit
from tests.console.user import DESKTOP, choose, downloaded, photo, still, wait_for_depth

# This script delays the decode of picture number ``window.late`` until ``window.release`` is
# called.
LATE_DECODE = """
let [count, held] = [0, new Promise((resolve) => (window.release = resolve))];
window.decodes = () => count;
const { decode } = HTMLImageElement.prototype;
HTMLImageElement.prototype.decode = async function () {
    if (count++ === window.late) await held;
    return decode.call(this);
};
"""
# This script makes the browser fail to decode the map, like a phone that has too little memory for
# a large one.
NO_PNG = """
const { createObjectURL } = URL;
const maps = new Set();
URL.createObjectURL = (blob) => {
    const address = createObjectURL.call(URL, blob);
    if (blob.type === "image/png") maps.add(address);
    return address;
};
const { decode } = HTMLImageElement.prototype;
HTMLImageElement.prototype.decode = function () {
    return maps.has(this.src) ? Promise.reject(new Error("too large")) : decode.call(this);
};
"""
pytestmark = pytest.mark.timeout(600)


def prepared(visit: Visit, service: Service, script: str) -> Page:
    """Open the console after running a script in its page."""
    page = visit(service, "/health", **DESKTOP)
    page.add_init_script(script)
    page.goto(service.url("/ui"))
    page.locator("#models li").first.wait_for()
    return page


def wait_for_decode(page: Page, number: int) -> None:
    """Wait until the decode of a picture has begun.

    The loop runs in Python, because Playwright's own way of waiting uses ``eval``, which the page's
    security policy forbids.
    """
    while page.evaluate("window.decodes()") <= number:
        page.wait_for_timeout(20)


def release(page: Page) -> None:
    """Let the delayed decode end, and give the page time to react."""
    page.evaluate("window.release()")
    page.wait_for_timeout(300)


@pytest.mark.parametrize("late", [0, 1], ids=["photo", "map"])
def test_a_forgotten_photo_writes_nothing_over_the_current_one(
    visit: Visit, demo: Service, late: int
) -> None:
    page = prepared(visit, demo, f"window.late = {late};" + LATE_DECODE)
    choose(page, ("forgotten.jpg", photo(9010)))
    wait_for_decode(page, late)
    choose(page, ("lake.jpg", photo()))
    wait_for_depth(page)
    made = page.locator("#depth-fine").inner_text()
    release(page)
    expect(page.get_by_role("heading", name="Depth of lake.jpg")).to_be_visible()
    expect(page.locator("#depth-activity .words")).to_be_empty()
    expect(page.locator("#depth-fine")).to_have_text(made)
    assert downloaded(page)[0] == "depth_lake.png"


def test_another_model_waits_for_the_photo_to_be_decoded(visit: Visit, demo: Service) -> None:
    page = prepared(visit, demo, "window.late = 0;" + LATE_DECODE)
    choose(page, ("lake.jpg", photo()))
    wait_for_decode(page, 0)
    page.get_by_label("Depth model").dispatch_event("change")
    page.wait_for_timeout(700)
    release(page)
    wait_for_depth(page)
    expect(page.locator("#compare .map")).to_be_visible()
    assert np.ptp(still(page.locator("#scene"))) > 50, "something is drawn"


def test_a_map_that_the_browser_cannot_show_can_be_taken_away(visit: Visit, demo: Service) -> None:
    page = prepared(visit, demo, NO_PNG)
    choose(page, ("lake.jpg", photo()))
    words = page.locator("#depth-activity .words")
    expect(words).to_have_text("This browser cannot show a map of this size; the download has it.")
    expect(page.locator("#compare .photo")).to_be_visible()
    expect(page.locator("#scene")).to_be_hidden()
    name, image = downloaded(page)
    assert (name, image.size) == ("depth_lake.png", (240, 180))


def test_colours_that_did_not_come_are_asked_for_again(visit: Visit, demo: Service) -> None:
    page = visit(demo, "/health", **DESKTOP)
    page.route("**/palettes.json", lambda route: route.abort(), times=1)
    page.goto(demo.url("/ui"))
    page.locator("#models li").first.wait_for()
    choose(page, ("lake.jpg", photo()))
    expect(page.get_by_role("radio", name="turbo")).to_be_attached()
    wait_for_depth(page)
    assert page.get_by_role("radio", name="grey").count() == 1


def test_an_example_that_does_not_come_is_said_so(visit: Visit, demo: Service) -> None:
    page = visit(demo, **DESKTOP)
    page.route("**/example.jpg", lambda route: route.fulfill(status=502, body="<h1>Bad</h1>"))
    page.get_by_role("button", name="Try the example").click()
    expect(page.locator("#intake")).to_contain_text("Unexpected answer HTTP status 502")
    page.unroute("**/example.jpg")
    page.get_by_role("button", name="Try the example").click()
    wait_for_depth(page)
    expect(page.locator("#intake")).not_to_contain_text("Unexpected answer")


def test_a_late_example_does_not_replace_a_photo(visit: Visit, demo: Service) -> None:
    page = visit(demo, **DESKTOP)
    late: list[Route] = []
    page.route("**/example.jpg", lambda route: late.append(route))
    page.get_by_role("button", name="Try the example").click()
    choose(page, ("lake.jpg", photo()))
    wait_for_depth(page)
    with page.expect_response("**/example.jpg"):
        late[0].continue_()
    page.wait_for_timeout(500)
    expect(page.get_by_role("heading", name="Depth of lake.jpg")).to_be_visible()
