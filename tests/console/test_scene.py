# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests that the console shows a photo as a 3D scene, gives its files away, and enters VR."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Browser, Frame, Page, Route, expect

from benchmarks.service import PROJECT, Service
from tests.console.conftest import Visit, visitor
from tests.console.user import PHONE, WAIT_MS, choose, photo, seen, wait_for_depth

pytestmark = pytest.mark.timeout(400)
WIDTH, HEIGHT = 80, 60
LAKE = photo(width=WIDTH, height=HEIGHT)
#: of few pixels, because the CPU draws
WINDOW: dict[str, Any] = {
    "viewport": {"width": 640, "height": 480},
    "device_scale_factor": 0.5,
}
IWER = PROJECT / "tests/clients/node_modules/iwer/build/iwer.min.js"
# Chromium has WebXR, but no headset. The emulated one draws to the canvas, one eye in each half.
HEADSET = """
const headset = new IWER.XRDevice(IWER.metaQuest3, { ipd: 0.2 });
headset.installRuntime({ forceInstall: true });
headset.stereoEnabled = true;
headset.position.set(1, 1.2, 3);
headset.quaternion.set(0, Math.SQRT1_2, 0, Math.SQRT1_2);  // looks to the left
window.headset = headset;
"""


def open_scene(page: Page) -> None:
    page.get_by_role("button", name="Show in 3D").click()
    wait_for_scene(page)


def wait_for_scene(page: Page) -> None:
    inside(page).locator("#controls").wait_for()
    page.locator("#scene-activity .words:empty").wait_for(state="attached")


def inside(page: Page) -> Frame:
    """Return the page in the frame, when it is there."""
    page.locator("#scene-place iframe").wait_for()
    (frame,) = page.frames[1:]
    return frame


def until(page: Page, is_wanted: Callable[[NDArray[np.uint8]], bool]) -> NDArray[np.uint8]:
    """Wait until the scene looks as wanted; splats are sorted after they are drawn."""
    place = page.locator("#scene-place")
    ends = time.monotonic() + WAIT_MS / 1000
    while True:
        picture = seen(place)
        if is_wanted(picture):
            return picture
        assert time.monotonic() < ends, "the scene never looked as wanted"
        page.wait_for_timeout(100)  # each look makes the browser draw


def difference(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    """The mean difference of two pictures above the buttons, in levels."""
    rows = int(0.7 * len(one))
    return float(np.abs(one[:rows].astype(float) - other[:rows]).mean())


def is_photo(picture: NDArray[np.uint8]) -> bool:
    """Whether the scene looks like the photo: from where the camera was."""
    height, width = picture.shape[:2]
    small = Image.open(io.BytesIO(LAKE)).convert("RGB")
    shown = np.asarray(small.resize((width, height), Image.Resampling.BICUBIC))
    return difference(picture, shown) < 25


@pytest.fixture(scope="module")
def asked() -> list[str]:
    """The addresses that the page of ``page`` has asked for."""
    return []


@pytest.fixture(scope="module")
def page(browser: Browser, demo: Service, asked: list[str]) -> Iterator[Page]:
    """Open a page that shows the scene of a photo.

    A proxy puts the service below a path, and takes the path off before it passes requests on.
    """
    with visitor(browser) as visit:
        page = visit(demo, "/health", **WINDOW)

        def pass_on(route: Route) -> None:
            address = route.request.url.replace("/photos/depth/", "/")
            asked.append(address)
            route.fulfill(response=route.fetch(url=address))

        page.context.route("**/photos/depth/**", pass_on)
        page.goto(demo.url("/photos/depth/ui"))
        page.evaluate("() => { window.told = []; onmessage = ({ data }) => told.push(data); }")
        choose(page, ("lake.jpg", LAKE))
        wait_for_depth(page)
        assert not [url for url in asked if "vendor" in url], "the renderer is loaded too early"
        open_scene(page)
        yield page


def test_splats_look_like_the_photo(page: Page) -> None:
    until(page, is_photo)


def test_it_turns_within_limits_and_goes_back(page: Page) -> None:
    view = inside(page).locator("#view")
    ahead = until(page, is_photo)

    def has_moved(picture: NDArray[np.uint8]) -> bool:
        return difference(picture, ahead) > 10

    def is_back(picture: NDArray[np.uint8]) -> bool:
        return difference(picture, ahead) < 3

    view.press("ArrowRight")
    until(page, has_moved)
    view.press("Home")
    until(page, is_back)
    box = view.bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x - 3000, y, steps=3)
    page.mouse.up()
    farthest = until(page, has_moved)
    view.press("ArrowRight")  # goes no farther
    until(page, lambda picture: difference(picture, farthest) < 3)
    inside(page).get_by_role("button", name="Reset view").click()
    until(page, is_back)
    view.press("+")
    until(page, has_moved)
    view.press("Home")
    until(page, is_back)
    page.mouse.move(x, y)
    page.mouse.wheel(0, -500)
    until(page, has_moved)
    view.press("Home")
    until(page, is_back)


def test_an_error_is_said_in_words_and_can_be_tried_again(page: Page) -> None:
    def refuse(route: Route) -> None:
        body = {"error": "Insufficient Storage", "message": "The disk is full: free some space"}
        route.fulfill(status=507, json=body)

    page.route("**/api/splat?*", refuse)
    page.get_by_role("button", name="Mesh", exact=True).click()
    problem = page.locator("#scene-activity.failed")
    expect(problem).to_contain_text("The disk is full: free some space")
    page.unroute("**/api/splat?*")
    problem.get_by_role("button", name="Try again").click()
    wait_for_scene(page)
    assert page.evaluate("told.at(-1)") == {"state": "shown", "kind": "mesh"}


def test_a_mesh_looks_like_the_photo_and_nothing_is_made_twice(
    page: Page, asked: list[str]
) -> None:
    page.get_by_role("button", name="Mesh", exact=True).click()
    wait_for_scene(page)
    until(page, is_photo)
    page.get_by_role("button", name="Splats", exact=True).click()
    wait_for_scene(page)
    assert page.evaluate("told.at(-1)") == {"state": "shown", "kind": "splats"}
    until(page, is_photo)
    made = [url for url in asked if "/api/splat" in url]
    assert len(made) == len(set(made)) == 2


@pytest.mark.parametrize(
    ("label", "name", "start"),
    [
        ("Download PLY", "splat_lake.ply", b"ply\n"),
        ("Download SPZ", "splat_lake.spz", b"\x1f\x8b"),
        ("Download SPLAT", "splat_lake.splat", b""),
        ("Download GLB", "splat_lake.glb", b"glTF"),
    ],
)
def test_the_files_can_be_taken_away(page: Page, label: str, name: str, start: bytes) -> None:
    group = page.get_by_role("group", name="Download the scene")
    with page.expect_download() as download:
        group.get_by_role("button", name=label).click()
    assert download.value.suggested_filename == name
    content = Path(download.value.path()).read_bytes()
    assert content.startswith(start)
    assert len(content) > 10_000


def test_axe_finds_nothing(page: Page, tmp_path: Path) -> None:
    page.screenshot(path=tmp_path / "scene.png", full_page=True)
    for part in (page, inside(page)):
        results = Axe().run(part)
        assert results.violations_count == 0, results.generate_report()


def test_another_photo_leaves_nothing_of_it(page: Page) -> None:
    choose(page, ("hill.jpg", photo(9010, WIDTH, HEIGHT)))
    wait_for_depth(page)
    expect(page.locator("#space-scene")).to_be_hidden()
    expect(page.locator("iframe")).to_have_count(0)


def test_on_a_phone_it_follows_the_phone(visit: Visit, demo: Service, tmp_path: Path) -> None:
    page = visit(demo, **PHONE, device_scale_factor=0.5)
    choose(page, ("lake.jpg", LAKE))
    wait_for_depth(page)
    open_scene(page)
    ahead = until(page, is_photo)
    page.screenshot(path=tmp_path / "scene.png", full_page=True)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    system = page.context.new_cdp_session(page)

    def hold(beta: float, gamma: float) -> None:
        angles = {"alpha": 0, "beta": beta, "gamma": gamma}
        system.send("DeviceOrientation.setDeviceOrientationOverride", angles)

    hold(40, 0)
    follow = inside(page).get_by_role("button", name="Follow the phone")
    follow.tap()
    expect(follow).to_have_attribute("aria-pressed", "true")
    hold(40, 0.5)  # from here on
    page.wait_for_timeout(300)
    hold(40, 18)
    until(page, lambda picture: difference(picture, ahead) > 10)
    follow.tap()
    until(page, lambda picture: difference(picture, ahead) < 3)
    box = page.locator("#scene-place").bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2

    def touch(kind: str, *distances: int) -> None:
        points = [{"x": x + distance, "y": y} for distance in distances]
        system.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    touch("touchStart", -20, 20)
    touch("touchMove", -60, 60)
    touch("touchMove", -120, 120)
    touch("touchEnd")
    until(page, lambda picture: difference(picture, ahead) > 10)
    # A panorama's scene does not go beyond the screen either.
    choose(page, ("wide.jpg", photo(width=480, height=150)))
    wait_for_depth(page)
    open_scene(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_without_webgl_there_are_the_files(visit: Visit, demo: Service) -> None:
    page = visit(demo, "/health", **WINDOW)
    page.add_init_script("HTMLCanvasElement.prototype.getContext = () => null")
    page.goto(demo.url("/ui"))
    choose(page, ("lake.jpg", LAKE))
    wait_for_depth(page)
    page.get_by_role("button", name="Show in 3D").click()
    expect(page.locator("#scene-activity")).to_contain_text("This browser has no WebGL 2")
    expect(page.locator("iframe")).to_have_count(0)
    with page.expect_download() as download:
        page.get_by_role("button", name="Download SPZ").click()
    assert download.value.suggested_filename == "splat_lake.spz"


def test_a_file_has_the_options_that_are_chosen_when_it_is_downloaded(
    visit: Visit, demo: Service
) -> None:
    page = visit(demo, "/health", **WINDOW)
    page.add_init_script("HTMLCanvasElement.prototype.getContext = () => null")
    page.goto(demo.url("/ui"))
    choose(page, ("lake.jpg", LAKE))
    wait_for_depth(page)
    page.get_by_role("button", name="Show in 3D").click()

    def size() -> int:
        with page.expect_download() as download:
            page.get_by_role("button", name="Download SPZ").click()
        return Path(download.value.path()).stat().st_size

    whole = size()
    page.get_by_text("Options of the scene").click()
    page.get_by_label("At most so many splats").fill("1000")
    assert size() < whole / 2


def test_a_headset_shows_it_to_both_eyes(visit: Visit, demo: Service) -> None:
    page = visit(demo, "/health", **WINDOW)
    page.add_init_script(IWER.read_text() + HEADSET)
    page.goto(demo.url("/ui"))
    choose(page, ("lake.jpg", LAKE))
    wait_for_depth(page)
    open_scene(page)
    ahead = until(page, is_photo)
    enter = inside(page).get_by_role("button", name="View in VR")
    enter.click()
    leave = inside(page).get_by_role("button", name="Leave VR")
    leave.wait_for(state="attached")

    def is_stereo(picture: NDArray[np.uint8]) -> bool:
        left, right = np.array_split(picture, 2, axis=1)
        return bool(
            min(np.ptp(left), np.ptp(right)) > 50
            and difference(left[:, : right.shape[1]], right) > 5
        )

    until(page, is_stereo)
    inside(page).evaluate("headset.activeSession.end()")
    enter.wait_for()
    until(page, lambda picture: difference(picture, ahead) < 3)
    assert not inside(page).evaluate("Boolean(headset.activeSession)")


def test_without_a_headset_nothing_offers_vr(page: Page) -> None:
    expect(page.get_by_role("button", name="View in VR")).to_have_count(0)
