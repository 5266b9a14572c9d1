# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests how the 3D view moves by itself, by fingers and by turning the phone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from playwright.sync_api import Page, expect

from benchmarks.service import Service
from tests.console.conftest import Visit
from tests.console.user import (
    DESKTOP,
    choose,
    downloaded,
    drop,
    finger,
    photo,
    still,
    wait_for_depth,
)

# This script records the viewpoint of each drawn frame; straight ahead is [0, 0].
LOOK_FOR_MOTION = """
window.places = [];
const { uniform2f } = WebGL2RenderingContext.prototype;
WebGL2RenderingContext.prototype.uniform2f = function (place, x, y) {
    window.places.push([x, y]);
    return uniform2f.call(this, place, x, y);
};
"""
NEXT_FRAME = "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
pytestmark = pytest.mark.timeout(600)


def watched(visit: Visit, service: Service, **options: Any) -> Page:
    """Open a page whose viewpoints ``places`` returns."""
    page = visit(service, "/health", **options)
    page.add_init_script(LOOK_FOR_MOTION)
    page.goto(service.url("/ui"))
    return page


def places(page: Page) -> NDArray[np.float64]:
    """Return the viewpoints of all frames so far: [frames, 2]."""
    return np.array(page.evaluate("window.places"))


def test_it_moves_once_by_itself_unless_that_is_unwanted(visit: Visit, demo: Service) -> None:
    def moved(**options: Any) -> Page:
        page = watched(visit, demo, **DESKTOP, device_scale_factor=0.5, **options)
        drop(page, "lake.jpg", photo())
        wait_for_depth(page)
        still(page.locator("#scene"))
        return page

    page = moved(reduced_motion="no-preference")
    assert places(page).any()
    # The view does not jump: some frame is half-way, even after a pause or if frames are slow.
    page.evaluate("window.places = []")
    page.locator("#scene").hover(position={"x": 0, "y": 100})
    still(page.locator("#scene"))
    ways = places(page)[:, 0] / places(page)[-1, 0]
    assert ((ways > 0.01) & (ways < 0.97)).any()
    assert not places(moved()).any()


def test_a_finger_turns_it_and_moves_the_line(visit: Visit, demo: Service) -> None:
    page = visit(demo, phone=True)
    page.get_by_role("button", name="Try the example").tap()
    wait_for_depth(page)
    scene, line = page.locator("#scene"), page.locator("#compare input")
    ahead = still(scene)
    with finger(page, scene, 0.5, 0.9):
        assert not np.array_equal(still(scene), ahead)
    assert np.array_equal(still(scene), ahead)
    # Imitate an iPhone, whose sliders ignore fingers that do not start on their thumb.
    line.evaluate("line => line.addEventListener('touchstart', e => e.preventDefault())")
    with finger(page, line, 0.3, 0.8):
        expect(line).to_have_attribute("aria-valuetext", "80 % photo")
    expect(line).to_have_value("80")


def test_the_phone_itself_turns_it(visit: Visit, demo: Service) -> None:
    page = watched(visit, demo, phone=True)
    page.get_by_role("button", name="Try the example").tap()
    wait_for_depth(page)
    system = page.context.new_cdp_session(page)

    def place_when_held(beta: float, gamma: float) -> list[float]:
        angles = {"alpha": 0, "beta": beta, "gamma": gamma}
        system.send("DeviceOrientation.setDeviceOrientationOverride", angles)
        page.wait_for_timeout(300)
        page.evaluate(NEXT_FRAME)  # a busy machine may draw late
        x, y = places(page)[-1]
        return [x, y]

    follow = page.get_by_role("button", name="Follow the phone")
    place_when_held(40, 0)
    follow.tap()
    expect(follow).to_have_attribute("aria-pressed", "true")
    expect(page.get_by_text("Turn the phone to look around.")).to_be_visible()
    assert place_when_held(40, 1) == pytest.approx([0, 0], abs=0.01)
    x, y = place_when_held(40, 15)
    assert x > 0.03 > abs(y)
    # In landscape the other axis turns the view to the right.
    metrics = {"width": 844, "height": 390, "deviceScaleFactor": 1, "mobile": True}
    turned = {"screenOrientation": {"type": "landscapePrimary", "angle": 90}}
    system.send("Emulation.setDeviceMetricsOverride", metrics | turned)
    follow.tap()
    place_when_held(0, -40)  # set before following starts, so that this position becomes the middle
    follow.tap()
    expect(follow).to_have_attribute("aria-pressed", "true")
    place_when_held(1, -40)
    x, y = place_when_held(15, -40)
    assert x > 0.03 > abs(y)
    follow.tap()
    expect(follow).to_have_attribute("aria-pressed", "false")
    assert place_when_held(-15, -40) == [0, 0]


def test_it_is_sharp_on_another_screen(visit: Visit, demo: Service) -> None:
    page = visit(demo, **DESKTOP)
    choose(page, ("lake.jpg", photo()))
    wait_for_depth(page)
    scene = page.locator("#scene")
    width = scene.evaluate("canvas => canvas.width")
    # The height changes a little, too, because otherwise Chromium does not evaluate its media
    # queries.
    screen = {"width": 1440, "height": 890, "deviceScaleFactor": 2, "mobile": False}
    page.context.new_cdp_session(page).send("Emulation.setDeviceMetricsOverride", screen)
    expect(scene).to_have_attribute("width", str(2 * width))


def test_without_webgl_there_is_a_word_and_the_rest(visit: Visit, demo: Service) -> None:
    page = visit(demo, "/health", **DESKTOP)
    page.add_init_script("HTMLCanvasElement.prototype.getContext = () => null")
    page.goto(demo.url("/ui"))
    choose(page, ("lake.jpg", photo()))
    wait_for_depth(page)
    expect(page.get_by_text("This browser has no WebGL 2")).to_be_visible()
    assert downloaded(page)[1].size == (240, 180)
