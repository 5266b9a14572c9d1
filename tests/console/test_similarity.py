# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Several images: how alike they are."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from benchmarks.service import Service
from tests.console.conftest import Visit
from tests.console.user import DESKTOP, choose, photo

pytestmark = pytest.mark.timeout(400)


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
