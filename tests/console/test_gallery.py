# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests that several photos become a gallery, which is searched and downloaded as a whole."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, Route, expect

from benchmarks.service import Service
from tests.console.conftest import Visit
from tests.console.user import DESKTOP, choose, photo, wait_for_cards, wait_for_depth
from tests.pictures import encoded, picture

pytestmark = pytest.mark.timeout(600)


def names(page: Page) -> list[str]:
    return page.locator("#cards h3").all_inner_texts()


def scores(page: Page) -> list[float]:
    return [float(text) for text in page.locator("#cards .state").all_inner_texts()]


def test_photos_are_found_by_words_and_by_likeness_and_saved_together(
    visit: Visit, demo: Service
) -> None:
    page = visit(demo, **DESKTOP)
    scan = encoded(picture(200, 150), "TIFF")  # which the browser cannot show
    given = [("a.jpg", photo()), ("b.jpg", photo(9010)), ("scan.tiff", scan), ("a.jpg", photo())]
    choose(page, *given)
    wait_for_cards(page, 4)
    assert names(page) == [name for name, _ in given]

    page.get_by_role("button", name="Similar: photos like b.jpg").click()
    page.get_by_text("Most similar to b.jpg: ").wait_for()
    assert names(page)[0] == "b.jpg"
    assert scores(page)[0] == 1.0
    assert scores(page) == sorted(scores(page), reverse=True)

    page.get_by_label("Find by words").fill("a lake")
    page.get_by_label("Find by words").press("Enter")
    found = page.get_by_text("Best for “a lake”: ")
    found.wait_for()
    text = demo.post("/embed-text", json={"text": "a lake"}).json()["embedding"]
    vectors = [
        demo.post("/embed-image", files={"image": (name, data)}).json()["embedding"]
        for name, data in given
    ]
    expected = sorted((float(np.dot(text, vector)) for vector in vectors), reverse=True)
    assert scores(page) == pytest.approx(expected, abs=0.006)
    expect(found).to_contain_text(names(page)[0])
    page.locator("#gallery-curl summary").click()
    expect(page.locator("#gallery-curl code")).to_contain_text("""-d '{"text":"a lake",""")
    page.get_by_role("button", name="Show all").click()
    assert names(page) == [name for name, _ in given]

    labels = ["a lake", "a dog", "mountains"]
    page.get_by_label("Labels", exact=True).and_(page.locator(":visible")).fill(", ".join(labels))
    page.get_by_role("button", name="Label", exact=True).and_(page.locator(":visible")).click()
    shown = page.get_by_role("list", name="labels of b.jpg").get_by_role("listitem")
    expect(shown).to_have_count(3)
    answer = demo.post(
        "/classify", files={"image": ("b.jpg", given[1][1])}, data={"labels": labels}
    ).json()
    assert shown.first.inner_text().split("\n")[0].startswith(answer["best"])
    page.get_by_text("add up to 100").wait_for()
    page.get_by_role("button", name="Remove labels").click()
    expect(shown).to_have_count(0)

    page.get_by_label("All as").select_option(label="depth maps, PNG of 16 bits")
    with page.expect_download() as download:
        page.get_by_role("button", name="Download ZIP").click()
    with zipfile.ZipFile(download.value.path()) as saved:
        assert saved.testzip() is None
        kept = ["a_depth16.png", "b_depth16.png", "scan_depth16.png", "a_depth16 (2).png"]
        assert saved.namelist() == kept
        map = Image.open(io.BytesIO(saved.read("scan_depth16.png")))
        assert (map.mode, map.size) == ("I;16", (200, 150))


def test_a_card_leads_to_the_scene_and_a_broken_file_spoils_nothing(
    visit: Visit, demo: Service
) -> None:
    page = visit(demo, phone=True)
    choose(page, ("a.jpg", photo()), ("broken.jpg", b"nothing"), ("b.jpg", photo(9010)))
    wait_for_cards(page, 2)
    refused = page.locator("#gallery-refused")
    expect(refused).to_contain_text("broken.jpg: The file is not an image")

    def refuse(route: Route) -> None:
        is_refused = b'filename="a.jpg"' in (route.request.post_data_buffer or b"")
        body = {"error": "Not here", "message": "Its camera is not known"}
        route.fulfill(status=400, json=body) if is_refused else route.continue_()

    page.route("**/api/depth?format=png&*", refuse)
    with page.expect_download() as download:
        page.get_by_role("button", name="Download ZIP").click()
    with zipfile.ZipFile(download.value.path()) as saved:
        assert saved.namelist() == ["b_depth.png", "refused.txt"]
        broken, known = saved.read("refused.txt").decode().splitlines()
        assert broken.startswith("broken.jpg: The file is not an image")
        assert known == "a.jpg: Its camera is not known"
    expect(page.locator("#zip-activity")).to_contain_text("Not in it: broken.jpg, a.jpg")
    page.unroute("**/api/depth?format=png&*")
    page.get_by_role("button", name="Depth: open b.jpg").click()
    wait_for_depth(page)
    expect(page.get_by_role("heading", name="Depth of b.jpg")).to_be_visible()
    expect(page.locator("#cards > li")).to_have_count(2)
    page.get_by_role("button", name="3D: the 3D scene of a.jpg").click()
    expect(page.get_by_role("heading", name="Depth of a.jpg")).to_be_visible()
    expect(page.locator("#scene-open")).to_have_attribute("aria-expanded", "true")
    choose(page, ("lake.jpg", photo()))  # what failed goes away with the next
    wait_for_depth(page)
    expect(page.locator("#gallery")).to_be_hidden()
    expect(page.get_by_text("The file is not an image")).to_have_count(0)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_one_photo_among_bad_files_gets_its_depth(visit: Visit, demo: Service) -> None:
    page = visit(demo, **DESKTOP)
    choose(page, ("notes.txt", b"nothing"), ("lake.jpg", photo()), ("cut.jpg", photo()[:300]))
    wait_for_depth(page)
    expect(page.get_by_role("heading", name="Depth of lake.jpg")).to_be_visible()
    refused = page.locator("#depth-refused")
    expect(refused).to_contain_text("notes.txt: The file is not an image")
    expect(refused).to_contain_text("cut.jpg: ")
    expect(page.locator("#gallery")).to_be_hidden()
    choose(page, ("alone.jpg", photo(9010)))
    expect(page.get_by_role("heading", name="Depth of alone.jpg")).to_be_visible()
    expect(refused).to_be_empty()


def test_a_failure_does_not_stay_above_new_results(visit: Visit, demo: Service) -> None:
    page = visit(demo, **DESKTOP)
    choose(page, ("broken.jpg", b"nothing"))
    page.locator("#depth-activity.failed").wait_for()
    choose(page, ("a.jpg", photo()), ("b.jpg", photo(9010)))
    wait_for_cards(page, 2)
    expect(page.locator("#depth")).to_be_hidden()
    expect(page.get_by_text("The file is not an image")).to_have_count(0)
    choose(page, ("one.jpg", b"nothing"), ("two.jpg", b"nothing"))
    expect(page.locator("#gallery-refused li")).to_have_count(2)
    choose(page, ("lake.jpg", photo()))
    wait_for_depth(page)
    expect(page.locator("#gallery")).to_be_hidden()


def test_a_zip_of_nothing_says_why(visit: Visit, demo: Service) -> None:
    page = visit(demo, **DESKTOP)
    choose(page, ("one.jpg", b"nothing"), ("two.jpg", b"nothing"))
    expect(page.locator("#gallery-refused li")).to_have_count(2)
    page.get_by_role("button", name="Download ZIP").click()
    expect(page.locator("#zip-activity")).to_contain_text("The file is not an image")


def test_a_second_press_makes_no_second_zip(visit: Visit, demo: Service) -> None:
    page = visit(demo, **DESKTOP)
    choose(page, ("a.jpg", photo()), ("b.jpg", photo(9010)))
    wait_for_cards(page, 2)
    files = "**/api/depth?format=png&*"
    held: list[Route] = []
    page.route(files, lambda route: held.append(route), times=2)
    with page.expect_request(files):
        page.get_by_role("button", name="Download ZIP").click()
    with page.expect_event("requestfailed"), page.expect_download() as download:
        page.get_by_role("button", name="Download ZIP").click()
    with zipfile.ZipFile(download.value.path()) as saved:
        assert saved.namelist() == ["a_depth.png", "b_depth.png"]


def test_labels_can_be_removed_while_they_come(visit: Visit, demo: Service) -> None:
    page = visit(demo, **DESKTOP)
    choose(page, ("a.jpg", photo()), ("b.jpg", photo(9010)))
    wait_for_cards(page, 2)

    def hold_the_second(route: Route) -> None:
        if b'filename="b.jpg"' not in (route.request.post_data_buffer or b""):
            route.continue_()

    page.route("**/classify", hold_the_second)
    page.locator("#labels-words").fill("a lake, a dog")
    page.locator("#labels-words").press("Enter")
    labels = page.get_by_role("list", name="labels of").get_by_role("listitem")
    expect(labels).to_have_count(2)
    page.get_by_role("button", name="Remove labels").click()
    expect(labels).to_have_count(0)
    expect(page.locator("#search-activity .words")).to_be_empty()
    page.unroute("**/classify")

    page.locator("#labels-words").press("Enter")
    expect(labels).to_have_count(4)
    page.get_by_label("Find by words").fill("a lake")
    page.get_by_role("button", name="Search").click()
    found = page.get_by_text("Best for “a lake”: ")
    found.wait_for()
    page.get_by_role("button", name="Remove labels").click()
    expect(labels).to_have_count(0)
    expect(found).to_be_visible()


def test_trying_again_keeps_the_list_of_refused_files(visit: Visit, demo: Service) -> None:
    page = visit(demo, **DESKTOP)
    refused = page.locator("#gallery-refused")

    def fail_after_the_refusal(route: Route) -> None:
        if b'filename="b.jpg"' not in (route.request.post_data_buffer or b""):
            return route.continue_()
        expect(refused).to_contain_text("broken.jpg: The file is not an image")
        return route.fulfill(status=500, json={"error": "Failed", "message": "It is broken"})

    page.route("**/api/depth?*", fail_after_the_refusal)
    choose(page, ("a.jpg", photo()), ("broken.jpg", b"nothing"), ("b.jpg", photo(9010)))
    problem = page.locator("#gallery-activity.failed")
    problem.wait_for()
    page.unroute("**/api/depth?*")
    problem.get_by_role("button", name="Try again").click()
    wait_for_cards(page, 2)
    expect(refused).to_contain_text("broken.jpg: The file is not an image")


def test_a_folded_field_that_is_wrong_is_shown(visit: Visit, demo: Service) -> None:
    page = visit(demo, **DESKTOP)
    choose(page, ("a.jpg", photo()), ("b.jpg", photo(9010)))
    wait_for_cards(page, 2)
    form = page.locator("#labels")
    fold = form.get_by_text("Sentence around each label")
    fold.click()
    form.get_by_label("Sentence").fill("a photo")
    fold.click()
    expect(form.get_by_label("Sentence")).to_be_hidden()
    form.get_by_label("Labels").fill("a lake, a dog")
    form.get_by_role("button", name="Label").click()
    expect(form.get_by_label("Sentence")).to_be_focused()


def test_without_clip_there_is_a_gallery_without_a_search(
    visit: Visit, another: Callable[..., Service]
) -> None:
    page = visit(another(ENABLED_FAMILIES="depth"), **DESKTOP)
    page.locator("#models li").first.wait_for()
    choose(page, ("a.jpg", photo()), ("b.jpg", photo(9010)))
    wait_for_cards(page, 2)
    expect(page.locator("#search")).to_be_hidden()
    expect(page.get_by_role("button", name="Similar")).to_have_count(0)


def test_the_first_words_say_why_they_take_long(visit: Visit, demo: Service) -> None:
    def no_words_yet(route: Route) -> None:
        answer = route.fetch()
        body = answer.json()
        for model in body["models"]:
            model["text_state"] = "not_loaded"
        route.fulfill(response=answer, json=body)

    page = visit(demo, "/ready", **DESKTOP)
    page.route("**/health", no_words_yet)
    held: list[Route] = []
    page.route("**/embed-text", lambda route: held.append(route))
    page.goto(demo.url("/ui"))
    choose(page, ("a.jpg", photo()), ("b.jpg", photo(9010)))
    wait_for_cards(page, 2)
    page.get_by_label("Find by words").fill("a lake")
    page.get_by_label("Find by words").press("Enter")
    page.get_by_text("the first words take up to a minute").wait_for()
    held[0].continue_()
    page.get_by_text("Best for “a lake”: ").wait_for()
    expect(page.get_by_text("the first words take up to a minute")).to_have_count(0)
