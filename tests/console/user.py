# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Acts on the console as a user does, and reads what a user sees."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Locator, Page, expect

from tests.pictures import encoded
from training.scenes import imagine, render

WAIT_MS = 100_000
_FRAME = 10  # width in pixels of an element's frame, which ``seen`` cuts off
DESKTOP: dict[str, Any] = {"viewport": {"width": 1440, "height": 900}}
PHONE: dict[str, Any] = {
    "viewport": {"width": 390, "height": 844},
    "has_touch": True,
    "is_mobile": True,
}


@cache
def photo(seed: int = 9017, width: int = 240, height: int = 180) -> bytes:
    """Make a JPEG of a rendered scene."""
    return encoded(Image.fromarray(render(imagine(seed), width, height).pixels), "JPEG", quality=90)


def choose(page: Page, *files: tuple[str, bytes]) -> None:
    """Choose files in the file dialog."""
    chosen = [{"name": name, "mimeType": "image/jpeg", "buffer": data} for name, data in files]
    with page.expect_file_chooser() as dialog:
        page.get_by_role("button", name="Choose photos").click()
    dialog.value.set_files(chosen)  # type: ignore[arg-type]


def drop(page: Page, name: str, data: bytes) -> None:
    """Drop a file onto the page, as from a file manager."""
    dropped = page.evaluate_handle(
        """([name, text]) => {
            const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
            const transfer = new DataTransfer();
            transfer.items.add(new File([bytes], name));
            return transfer;
        }""",
        [name, base64.b64encode(data).decode()],
    )
    page.dispatch_event("main", "dragover", {"dataTransfer": dropped})
    page.dispatch_event("main", "drop", {"dataTransfer": dropped})


def wait_for_depth(page: Page) -> None:
    page.get_by_role("link", name="Download PNG").wait_for()
    page.locator("#depth-activity .words:empty").wait_for(state="attached")


def wait_for_cards(page: Page, count: int) -> None:
    """Wait until the gallery has so many photos, each with its depth."""
    page.locator("#gallery-activity .words:empty").wait_for(state="attached")
    expect(page.locator("#cards > li")).to_have_count(count)
    assert page.locator("#cards canvas").count() == 2 * count


@contextmanager
def finger(page: Page, place: Locator, start: float, end: float) -> Iterator[None]:
    """Drag a finger from one fraction of the width to another; lift it after the block."""
    place.scroll_into_view_if_needed()
    box = place.bounding_box()
    assert box is not None
    system = page.context.new_cdp_session(page)

    def touch(kind: str, *shares: float) -> None:
        y = box["y"] + box["height"] / 2
        points = [{"x": box["x"] + share * box["width"], "y": y} for share in shares]
        system.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    touch("touchStart", start)
    for step in (0.25, 0.5, 0.75, 1):
        touch("touchMove", start + step * (end - start))
    yield
    touch("touchEnd")


def still(place: Locator) -> NDArray[np.uint8]:
    """Wait until an element does not change any more; return its pixels, [height, width, 3]."""
    before = seen(place)
    while True:
        place.page.wait_for_timeout(100)  # each look makes the browser draw
        now = seen(place)
        if np.array_equal(before, now):
            return now
        before = now


def seen(place: Locator) -> NDArray[np.uint8]:
    """Return an element's pixels now, without its frame and focus ring: [height, width, 3]."""
    # A screenshot of the element would first wait until the page has drawn two frames in the same
    # place, which takes minutes when the CPU draws a scene beside other tests.
    box = place.evaluate(
        """element => {
            element.scrollIntoView({ block: "nearest", behavior: "instant" });
            const { x, y, width, height } = element.getBoundingClientRect();
            return { x, y, width, height };
        }"""
    )
    picture = Image.open(io.BytesIO(place.page.screenshot(clip=box))).convert("RGB")
    return np.asarray(picture)[_FRAME:-_FRAME, _FRAME:-_FRAME]


def downloaded(page: Page) -> tuple[str, Image.Image]:
    """Click the download link; return the file's name and its picture."""
    with page.expect_download() as download:
        page.get_by_role("link", name="Download PNG").click()
    image = Image.open(download.value.path())
    image.load()
    return download.value.suggested_filename, image
