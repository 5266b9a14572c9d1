# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests that the console turns a photo into a depth map, and moves it in 3D under the mouse."""

from __future__ import annotations

import io
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from benchmarks.service import Service
from tests.console.conftest import Visit, visitor
from tests.console.user import (
    DESKTOP,
    choose,
    downloaded,
    drop,
    photo,
    still,
    wait_for_depth,
)
from tests.pictures import encoded, picture, rotated_jpeg

pytestmark = pytest.mark.timeout(600)  # the first start prepares the models


@pytest.fixture(scope="module")
def page(browser: Browser, demo: Service) -> Iterator[Page]:
    """Open a page that shows the depth of a photo and does not move by itself."""
    with visitor(browser) as visit:
        page = visit(demo, **DESKTOP)
        choose(page, ("lake.jpg", photo()))
        wait_for_depth(page)
        yield page


def test_it_says_what_it_shows(page: Page) -> None:
    expect(page.get_by_role("heading", name="Depth of lake.jpg")).to_be_visible()
    expect(page.locator("#depth-fine")).to_contain_text("By Twinlens built-in depth · in ")
    expect(page.locator("#depth-fine")).to_contain_text("built-in weights")


def test_the_line_between_photo_and_depth_moves_with_the_keys(page: Page) -> None:
    frame, line = page.locator("#compare"), page.get_by_role("slider", name="Where the photo ends")
    line.press("Home")
    depth_only = still(frame)
    line.press("End")
    photo_only = still(frame)
    expect(line).to_have_attribute("aria-valuetext", "100 % photo")
    assert np.ptp(depth_only[20:-20, 40:-40].astype(int), axis=2).max() <= 2, "it is grey"
    assert np.ptp(photo_only[20:-20, 40:-40].astype(int), axis=2).max() > 50
    line.press("ArrowLeft")
    expect(line).to_have_attribute("aria-valuetext", "99 % photo")
    line.fill("50")


def test_the_download_is_the_answer_of_the_service(page: Page, demo: Service) -> None:
    page.get_by_role("radio", name="grey").check(force=True)
    name, image = downloaded(page)
    assert (name, image.mode, image.size) == ("depth_lake.png", "L", (240, 180))
    answer = demo.post("/api/depth", files={"image": ("lake.jpg", photo())})
    assert np.array_equal(np.asarray(image), np.asarray(Image.open(io.BytesIO(answer.content))))


def test_colours_are_those_of_the_service(page: Page, demo: Service) -> None:
    frame = page.locator("#compare")
    page.get_by_role("radio", name="grey").check(force=True)
    grey = still(frame)
    page.get_by_role("radio", name="turbo").check(force=True)
    expect(page.locator("#download")).to_have_attribute("download", "depth_lake_turbo.png")
    assert not np.array_equal(still(frame), grey)
    _, image = downloaded(page)
    answer = demo.post("/api/depth?colormap=turbo", files={"image": ("lake.jpg", photo())})
    expected = np.asarray(Image.open(io.BytesIO(answer.content)))
    assert np.array_equal(np.asarray(image.convert("RGB")), expected)


def test_the_photo_turns_under_the_mouse_and_the_keys(page: Page) -> None:
    scene = page.locator("#scene")
    page.mouse.move(0, 0)
    ahead = still(scene)
    assert np.ptp(ahead) > 50, "something is drawn"
    scene.hover(position={"x": 10, "y": 100})
    left = still(scene)
    scene.hover(position={"x": 400, "y": 100})
    right = still(scene)
    assert not np.array_equal(left, right)
    page.mouse.move(0, 0)
    assert np.array_equal(still(scene), ahead)
    scene.press("ArrowRight")
    assert not np.array_equal(still(scene), ahead)
    scene.press("Home")
    assert np.array_equal(still(scene), ahead)


def test_more_strength_moves_it_more(page: Page) -> None:
    scene = page.locator("#scene")
    scene.hover(position={"x": 10, "y": 100})
    page.get_by_label("3D strength").fill("0")
    flat = still(scene)
    page.mouse.move(0, 0)
    assert np.array_equal(still(scene), flat)
    page.get_by_label("3D strength").fill("100")
    scene.hover(position={"x": 10, "y": 100})
    assert not np.array_equal(still(scene), flat)


def test_a_turned_photo_is_shown_upright(visit: Visit, demo: Service) -> None:
    page = visit(demo, **DESKTOP)
    choose(page, ("turned.jpg", rotated_jpeg(picture(240, 160))))
    wait_for_depth(page)
    box = page.locator("#compare").bounding_box()
    assert box is not None
    assert box["height"] > box["width"]
    assert downloaded(page)[1].size == (160, 240)


def test_a_photo_that_the_browser_cannot_show_is_shown_by_the_service(
    visit: Visit, demo: Service
) -> None:
    page = visit(demo, **DESKTOP)
    choose(page, ("scan.tiff", encoded(picture(200, 150), "TIFF")))
    wait_for_depth(page)
    expect(page.locator("#compare .photo")).to_be_visible()
    page.get_by_role("slider", name="Where the photo ends").press("End")
    seen = still(page.locator("#compare"))
    assert np.ptp(seen.astype(int), axis=2).max() > 50, "it has the photo's colours"
    assert downloaded(page)[0] == "depth_scan.png"
    # A PNG that its EXIF data turn: browsers differ, and the page shows what the service sees.
    exif = Image.Exif()
    exif[0x0112] = 6
    choose(page, ("turned.png", encoded(picture(240, 160), "PNG", exif=exif)))
    expect(page.get_by_role("heading", name="Depth of turned.png")).to_be_visible()
    wait_for_depth(page)
    size = "photo => [photo.naturalWidth, photo.naturalHeight]"
    assert page.locator("#compare .photo").evaluate(size) == [160, 240]


def test_all_options_make_what_their_command_line_says(visit: Visit, demo: Service) -> None:
    page = visit(demo, **DESKTOP)
    choose(page, ("it's.jpg", photo()))
    wait_for_depth(page)
    page.get_by_text("Stereo pairs, other formats, all options").click()
    page.get_by_text("The same in a terminal").last.click()
    line = page.locator("#depth-curl code")

    def made() -> tuple[str, Image.Image]:
        with page.expect_download() as download:
            page.get_by_role("button", name="Make and download").click()
        expect(page.locator("#make-activity")).to_contain_text("is saved")
        image = Image.open(download.value.path())
        image.load()
        return download.value.suggested_filename, image

    form = page.locator("#make-form")  # the form of films has some of the same labels
    form.get_by_label("Format").select_option("png16")
    form.get_by_label("Near is dark").check()
    form.get_by_label("Size").select_option("512")
    assert form.get_by_label("Colours").is_hidden()
    name, image = made()
    assert (name, image.mode) == ("depth_it's.png", "I;16")
    expect(line).to_contain_text("size=512&invert=true'")
    form.get_by_label("Make", exact=True).select_option("sbs")
    expect(form.get_by_label("Near is dark")).to_be_hidden()
    form.get_by_label("Exchange the eyes").check()
    form.get_by_label("Strength, %").fill("3")
    name, image = made()
    assert (name, image.size) == ("it's_RLF_cross.png", (480, 180)), "as players know it"
    expect(page.get_by_role("img", name="What was made")).to_be_visible()
    # The command line is run as it stands.
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "it's.jpg").write_bytes(photo())
        subprocess.run(["/bin/sh", "-c", line.inner_text()], cwd=folder, check=True)
        again = Image.open(Path(folder) / name)
        assert np.array_equal(np.asarray(again), np.asarray(image))


def test_a_field_that_is_hidden_again_stops_nothing(visit: Visit, demo: Service) -> None:
    page = visit(demo, **DESKTOP)
    choose(page, ("lake.jpg", photo()))
    wait_for_depth(page)
    page.get_by_text("Stereo pairs, other formats, all options").click()
    form = page.locator("#make-form")
    form.get_by_label("Make", exact=True).select_option("sbs")
    form.get_by_label("Strength, %").fill("")
    form.get_by_label("Make", exact=True).select_option("the depth map")
    with page.expect_download() as download:
        page.get_by_role("button", name="Make and download").click()
    assert download.value.suggested_filename == "depth_lake.png"


def test_labels_of_one_photo_have_a_sentence_of_their_own(visit: Visit, demo: Service) -> None:
    page = visit(demo, **DESKTOP)
    choose(page, ("lake.jpg", photo()))
    wait_for_depth(page)
    page.get_by_text("Labels for this photo").click()
    form = page.locator("#depth-labels-form")
    form.get_by_label("Labels").fill("a lake, a dog")
    form.get_by_text("Sentence around each label").click()
    form.get_by_label("Sentence").fill("a drawing of {}")
    form.get_by_role("button", name="Label").click()
    expect(page.locator("#depth-labels-found li")).to_have_count(2)
    expect(page.locator("#depth-curl code")).to_contain_text("templates=a drawing of {}")


def test_a_broken_file_gets_the_words_of_the_service(visit: Visit, demo: Service) -> None:
    page = visit(demo, **DESKTOP)
    drop(page, "<b>broken</b>.jpg", b"no image at all")
    expect(page.get_by_role("heading", name="Depth of <b>broken</b>.jpg")).to_be_visible()
    problem = page.locator("#depth-activity")
    expect(problem.get_by_role("status")).to_contain_text("The file is not an image")
    request_id = problem.locator(".fine").inner_text().removeprefix("Request ")
    assert request_id in demo.text()
    expect(page.locator("#compare")).to_be_hidden()
    choose(page, ("lake.jpg", photo()))  # the page still works
    wait_for_depth(page)


def test_a_model_that_cannot_come_is_said_so_beside_the_map_that_is_there(
    visit: Visit, demo: Service
) -> None:
    page = visit(demo, **DESKTOP)
    choose(page, ("lake.jpg", photo()))
    wait_for_depth(page)
    page.get_by_label("Depth model").select_option("small")
    problem = page.locator("#depth-activity.failed")
    expect(problem).to_contain_text("HF_HUB_OFFLINE is set; `python -m app download small")
    expect(problem.get_by_role("progressbar")).to_be_hidden()
    expect(page.locator("#depth-fine")).to_contain_text("By Twinlens built-in depth · in ")
    assert downloaded(page)[0] == "depth_lake.png"


def test_a_service_that_is_gone_is_said_so(visit: Visit, demo: Service) -> None:
    page = visit(demo, **DESKTOP)
    page.locator("#models li").first.wait_for()
    page.context.set_offline(True)
    choose(page, ("lake.jpg", photo()))
    expect(page.locator("#depth-activity")).to_contain_text("The service cannot be reached")
    page.context.set_offline(False)
    page.get_by_role("button", name="Try again").click()
    wait_for_depth(page)
