# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests the console's section for films: made as jobs, followed, played, cancelled, removed."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Locator, Page, Route, expect

from benchmarks.service import Service
from tests.console.conftest import Visit
from tests.console.test_accessibility import check
from tests.console.user import DESKTOP, choose, drop, photo
from tests.films.numbered import film as numbered
from tests.films.small import film, read

pytestmark = pytest.mark.timeout(600)
SIZE = (64, 48)
RATE = 12
FILM = film(12, SIZE, RATE)
# Takes so long that a test can cancel it.
LONG = film(4000, SIZE, RATE)
KEY = "riegel"
HIDE = """(isHidden) => {
    Object.defineProperty(document, "hidden", { value: isHidden, configurable: true });
    document.dispatchEvent(new Event("visibilitychange"));
}"""
IDS = "JSON.parse(localStorage.getItem('twinlens-films'))"


def choose_film(page: Page, name: str, data: bytes) -> None:
    """Choose a film in the file dialog."""
    with page.expect_file_chooser() as dialog:
        page.get_by_role("button", name="Choose a film").click()
    dialog.value.set_files({"name": name, "mimeType": "video/mp4", "buffer": data})


def make(page: Page, kind: str | None = None) -> Locator:
    """Ask for the film that is chosen; return its card."""
    if kind:
        page.get_by_label("Make a", exact=True).select_option(kind)
    page.get_by_role("button", name="Make the film").click()
    card = page.locator("#film-cards li").first
    card.wait_for()
    return card


def wait_until_ready(card: Locator) -> None:
    expect(card.get_by_role("status")).to_contain_text("The film is ready.")


def assert_plays(card: Locator, width: int, height: int, seconds: float) -> None:
    """Assert that the browser plays the film of a card."""
    video = card.locator("video")
    found: dict[str, Any] = video.evaluate(
        """async (video) => {
            if (video.readyState < HTMLMediaElement.HAVE_METADATA) {
                await new Promise((resolve, reject) => {
                    video.onloadedmetadata = resolve;
                    video.onerror = () => reject(new Error("it does not play"));
                });
            }
            video.muted = true;
            await video.play();
            await new Promise((resolve) => video.requestVideoFrameCallback(resolve));
            const { videoWidth: width, videoHeight: height, duration } = video;
            return { width, height, duration };
        }"""
    )
    assert (found["width"], found["height"]) == (width, height)
    assert found["duration"] == pytest.approx(seconds, abs=0.2)


def downloaded(page: Page, card: Locator) -> tuple[str, bytes]:
    """Download the film of a card; return its name and content."""
    with page.expect_download() as download:
        card.get_by_role("button", name=re.compile("^Download")).click()
    return download.value.suggested_filename, Path(download.value.path()).read_bytes()


def test_a_film_is_made_played_and_downloaded(visit: Visit, demo: Service, tmp_path: Path) -> None:
    page = visit(demo, **DESKTOP)
    choose_film(page, "beach.mp4", FILM)
    expect(page.get_by_role("heading", name="Films")).to_be_focused()
    check(page, tmp_path / "chosen.png")
    page.locator("#film-more summary").click()
    page.get_by_label("Length in seconds").fill("100")
    with page.expect_request("**/api/video/**") as request:
        card = make(page)
    assert "sbs?stereo=sbs&duration=100&job=true" in request.value.url
    expect(page.get_by_role("button", name="Make the film")).to_be_hidden()
    wait_until_ready(card)
    expect(card.get_by_role("heading", name="beach_LRF_Full_SBS.mp4")).to_be_focused()
    assert_plays(card, 2 * SIZE[0], SIZE[1], len(read(FILM)[0]) / RATE)
    check(page, tmp_path / "ready.png")
    name, content = downloaded(page, card)
    assert name == "beach_LRF_Full_SBS.mp4"
    assert len(read(content)[0]) == 12

    page.reload()
    card = page.locator("#film-cards li")
    wait_until_ready(card)
    expect(card.locator("video")).to_be_visible()
    card.get_by_role("button", name="Remove beach_LRF_Full_SBS.mp4").click()
    expect(card).to_have_count(0)
    expect(page.locator("#films")).to_be_hidden()
    page.reload()
    page.locator("#models li").first.wait_for()
    expect(card).to_have_count(0)


def test_films_that_are_dropped_wait_and_can_be_cancelled(visit: Visit, demo: Service) -> None:
    page = visit(demo)
    drop(page, "walk.mov", LONG)
    expect(page.locator("#film-chosen")).to_have_text("walk.mov")
    card = make(page, "depth film, in colours")
    expect(card.locator(".detail")).to_have_text(
        re.compile(r"^[1-9]\d* of 4000 frames, [\d.]+ a second, [\d.]+ (s|min|h) left$")
    )
    drop(page, "beach.mov", FILM)
    make(page, "3D film for red-cyan glasses")
    cards = page.locator("#film-cards li")
    expect(cards).to_have_count(2)
    card, long = cards.nth(0), cards.nth(1)
    expect(card.get_by_role("status")).to_have_text("Waiting for its turn")
    with page.expect_response(lambda answer: answer.request.method == "DELETE") as answer:
        long.get_by_role("button", name="Cancel").click()
    expect(cards).to_have_count(1)
    wait_until_ready(card)
    expect(card.get_by_role("heading")).to_have_text("beach_redcyan.mp4")
    assert answer.value.status == 200
    assert demo.get(answer.value.url.removeprefix(demo.url(""))).status_code == 404


def test_a_long_film_is_asked_about_less_and_an_unseen_one_never(
    visit: Visit, demo: Service
) -> None:
    """The page's clock stands still but where the test turns it."""
    asked: list[int] = []
    job = {"state": "running", "file_name": "long.mp4", "frames_done": 7, "frames_total": 90_000}

    def answer(route: Route) -> None:
        asked.append(len(asked))
        route.fulfill(json=job | {"frames_per_second": None, "seconds_left": None})

    page = visit(demo, "/health")
    page.evaluate("localStorage.setItem('twinlens-films', '[\"long\"]')")
    page.clock.install()
    page.route("**/api/jobs/long", answer)
    page.goto(demo.url("/ui"))
    page.get_by_text("7 of 90000 frames").wait_for()

    def seconds_until_asked() -> int:
        before, seconds = len(asked), 0
        while len(asked) == before:
            page.clock.run_for(1000)
            seconds += 1
        return seconds

    first = [seconds_until_asked() for _ in range(5)]
    assert first[-1] >= 5  # the same answer five times
    page.evaluate(HIDE, True)
    page.clock.run_for(60_000)
    page.get_by_text("7 of 90000 frames").wait_for()
    before = len(asked)
    page.clock.run_for(600_000)
    page.get_by_text("7 of 90000 frames").wait_for()
    assert len(asked) == before
    with page.expect_request("**/api/jobs/long"):
        page.evaluate(HIDE, False)


def test_what_is_no_film_gets_the_service_s_words(
    visit: Visit, demo: Service, tmp_path: Path
) -> None:
    page = visit(demo, phone=True, color_scheme="dark")
    choose_film(page, "broken.mp4", FILM[:300])
    card = make(page)
    expect(card.get_by_role("status")).to_contain_text("The MP4 or MOV file cannot be read")
    expect(card.locator("video")).to_have_count(0)
    check(page, tmp_path / "broken.png")
    card.get_by_role("button", name=re.compile("^Remove")).click()
    expect(card).to_have_count(0)


def test_what_is_not_as_expected_is_said(visit: Visit, demo: Service) -> None:
    """Several files came, of which one is taken; it breaks off; the weights are built-in ones."""
    page = visit(demo)
    whole = numbered("matroska", count=40, rate=10)
    choose(page, ("lake.jpg", photo()), ("walk.mkv", whole[: len(whole) * 2 // 3]))
    chosen = page.locator("#film-chosen")
    expect(chosen).to_have_text("walk.mkv (one film at a time; left out: 1 more)")
    card = make(page, "depth film, grey")
    wait_until_ready(card)
    expect(card.get_by_role("heading")).to_have_text("depth_walk.mp4")
    expect(card.get_by_role("status")).to_contain_text("built-in weights, not the published ones")
    expect(card.get_by_role("status")).to_contain_text("The film breaks off after")
    assert demo.delete(f"/api/jobs/{page.evaluate(IDS)[0]}").status_code == 200
    page.reload()
    page.locator("#models li").first.wait_for()
    expect(page.locator("#film-cards li")).to_have_count(0)
    assert page.evaluate(IDS) == []


def test_another_film_does_not_end_an_upload(visit: Visit, demo: Service) -> None:
    page = visit(demo, **DESKTOP)
    held: list[Route] = []
    page.route("**/api/video/**", lambda route: held.append(route))
    choose_film(page, "beach.mp4", FILM)
    with page.expect_request("**/api/video/**"):
        page.get_by_role("button", name="Make the film").click()
    drop(page, "walk.mov", LONG)
    wait = page.locator("#film-wait")
    expect(wait).to_have_text("walk.mov is left out: wait for the upload, or press Cancel.")
    expect(page.locator("#film-chosen")).to_have_text("beach.mp4")
    held[0].continue_()
    card = page.locator("#film-cards li")
    wait_until_ready(card)
    expect(card.get_by_role("heading")).to_have_text("beach_LRF_Full_SBS.mp4")
    drop(page, "walk.mov", LONG)
    expect(page.locator("#film-chosen")).to_have_text("walk.mov")
    expect(wait).to_be_hidden()


@pytest.mark.parametrize(("codec", "has_colours"), [(None, True), ("ffv1", False)])
def test_a_depth_film_in_colours_as_mkv(
    visit: Visit, demo: Service, codec: str | None, has_colours: bool
) -> None:
    """It has its colours, unless FFV1 is chosen, which has none."""
    page = visit(demo, **DESKTOP)
    choose_film(page, "beach.mp4", FILM)
    page.get_by_label("Make a", exact=True).select_option("depth film, in colours")
    page.locator("#film-more summary").click()
    page.get_by_label("File", exact=True).select_option("MKV")
    if codec is not None:
        page.get_by_label("Codec", exact=True).select_option(codec)
    card = make(page)
    wait_until_ready(card)
    expect(card.get_by_role("heading")).to_have_text("depth_beach.mkv")
    pixels = read(downloaded(page, card)[1])[0][0].astype(int)
    assert (np.ptp(pixels, axis=2).max() > 50) == has_colours


def test_a_zip_of_pictures_is_only_downloaded(visit: Visit, demo: Service) -> None:
    page = visit(demo, **DESKTOP)
    choose_film(page, "beach.mp4", FILM)
    card = make(page, "depth maps of single frames, a ZIP of PNG files")
    wait_until_ready(card)
    expect(card.locator("video")).to_have_count(0)
    expect(card.get_by_role("status")).not_to_contain_text("cannot play")
    name, content = downloaded(page, card)
    assert name.endswith(".zip")
    assert content.startswith(b"PK")


def test_a_film_that_does_not_play_still_has_its_warnings(visit: Visit, demo: Service) -> None:
    page = visit(demo, **DESKTOP)
    page.route("**/api/jobs/*/result", lambda route: route.fulfill(body="no film"))
    choose_film(page, "beach.mp4", FILM)
    said = make(page, "depth film, grey").get_by_role("status")
    expect(said).to_contain_text("This browser cannot play the film; please download it.")
    expect(said).to_contain_text("The film is ready. It was made with built-in weights")


def test_a_service_with_a_key(visit: Visit, another: Callable[..., Service]) -> None:
    page = visit(another(SERVICE_API_KEY=KEY, ENABLED_FAMILIES="depth"))
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("button", name="Not now").click()
    choose_film(page, "beach.mp4", FILM)
    page.get_by_role("button", name="Make the film").click()
    dialog.get_by_label("Key", exact=True).fill(KEY)
    dialog.get_by_role("button", name="Continue").click()
    card = page.locator("#film-cards li")
    wait_until_ready(card)
    card.get_by_role("button", name="Play").click()
    assert_plays(card, 2 * SIZE[0], SIZE[1], len(read(FILM)[0]) / RATE)
    name, content = downloaded(page, card)
    assert name == "beach_LRF_Full_SBS.mp4"
    assert len(read(content)[0]) == 12
