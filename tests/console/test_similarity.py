# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests that the console shows how similar several images are."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from benchmarks.service import Service
from tests.console.conftest import Visit
from tests.console.user import DESKTOP, choose, photo, wait_for_depth

pytestmark = pytest.mark.timeout(600)


def test_two_images_give_a_matrix(visit: Visit, demo: Service) -> None:
    page = visit(demo, **DESKTOP)
    choose(page, ("a.jpg", photo()), ("same.jpg", photo()), ("b.jpg", photo(9010)))
    table = page.get_by_role("table", name="How alike the images are")
    table.wait_for()
    rows = [row.split() for row in table.locator("tbody").inner_text().splitlines()]
    numbers = [[float(value) for value in row if value[-1].isdigit()] for row in rows]
    flat = [value for row in numbers for value in row]
    assert len(flat) == 9
    assert flat[0] == flat[4] == flat[8] == flat[1] == 1.0, "the same image twice"
    assert flat[2] == flat[6] < 1.0
    expect(page.get_by_text("Most alike: a.jpg and same.jpg, 1.00.")).to_be_visible()
    expect(table.get_by_role("rowheader", name="b.jpg")).to_be_visible()
    expect(page.locator("#similarity-fine")).to_contain_text("128 numbers")


def test_a_broken_image_spoils_nothing_for_the_others(visit: Visit, demo: Service) -> None:
    page = visit(demo, phone=True)
    choose(page, ("a.jpg", photo()), ("broken.jpg", b"nothing"), ("b.jpg", photo(9010)))
    page.get_by_role("table").wait_for()
    expect(page.locator("#refused")).to_contain_text("broken.jpg: The file is not an image")
    assert page.locator("tbody tr").count() == 2


def test_a_table_that_is_too_wide_scrolls_by_itself(visit: Visit, demo: Service) -> None:
    page = visit(demo, phone=True)
    choose(page, *((f"{number}.jpg", photo()) for number in range(17)))
    page.get_by_role("table").wait_for()
    expect(page.get_by_text("These are the first 16 of 17.")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_one_photo_among_bad_files_gets_its_depth(visit: Visit, demo: Service) -> None:
    page = visit(demo, **DESKTOP)
    choose(page, ("notes.txt", b"nothing"), ("lake.jpg", photo()), ("cut.jpg", photo()[:300]))
    wait_for_depth(page)
    expect(page.get_by_role("heading", name="Depth of lake.jpg")).to_be_visible()
    refused = page.locator("#depth-refused")
    expect(refused).to_contain_text("notes.txt: The file is not an image")
    expect(refused).to_contain_text("cut.jpg: ")
    expect(page.locator("#similarity")).to_be_hidden()
    choose(page, ("alone.jpg", photo(9010)))
    expect(page.get_by_role("heading", name="Depth of alone.jpg")).to_be_visible()
    expect(refused).to_be_empty()


def test_a_failure_does_not_stay_above_new_results(visit: Visit, demo: Service) -> None:
    page = visit(demo, **DESKTOP)
    choose(page, ("broken.jpg", b"nothing"))
    page.locator("#depth-activity.failed").wait_for()
    choose(page, ("a.jpg", photo()), ("b.jpg", photo(9010)))
    page.get_by_role("table").wait_for()
    expect(page.locator("#depth")).to_be_hidden()
    expect(page.get_by_text("The file is not an image")).to_have_count(0)
    choose(page, ("one.jpg", b"nothing"), ("two.jpg", b"nothing"))
    expect(page.locator("#refused li")).to_have_count(2)
    choose(page, ("lake.jpg", photo()))
    wait_for_depth(page)
    expect(page.locator("#similarity")).to_be_hidden()


def test_without_clip_the_first_photo_gets_its_depth(
    visit: Visit, another: Callable[..., Service]
) -> None:
    page = visit(another(ENABLED_FAMILIES="depth"), **DESKTOP)
    page.locator("#models li").first.wait_for()
    choose(page, ("broken.jpg", b"nothing"), ("lake.jpg", photo()))
    wait_for_depth(page)
    expect(page.get_by_role("heading", name="Depth of lake.jpg")).to_be_visible()
    expect(page.locator("#depth-refused")).to_contain_text("broken.jpg: The file is not an image")
