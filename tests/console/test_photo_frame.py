# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests the page of docs/recipes/photo-frame.md in a real browser, with a map of the service."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Route

from benchmarks.service import PROJECT, Service
from tests.console.user import WAIT_MS, photo

ORIGIN = "http://frame.example"

pytestmark = pytest.mark.timeout(600)


def test_the_photo_frame_moves(browser: Browser, demo: Service) -> None:
    text = (PROJECT / "docs" / "recipes" / "photo-frame.md").read_text()
    (page_html,) = re.findall(r"^```html\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    answer = demo.post("/api/depth?size=1024", files={"image": ("photo.jpg", photo())})
    files = {
        "/": (page_html.encode(), "text/html"),
        "/photo.jpg": (photo(), "image/jpeg"),
        "/depth.png": (answer.content, "image/png"),
    }

    def reply(route: Route) -> None:
        body, kind = files[route.request.url.removeprefix(ORIGIN)]
        route.fulfill(body=body, content_type=kind)

    complaints: list[str] = []

    def complain(message: ConsoleMessage) -> None:
        if message.type == "error":
            complaints.append(message.text)

    context = browser.new_context(viewport={"width": 320, "height": 240})
    try:
        page = context.new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", complain)
        page.route("**/*", reply)
        page.goto(f"{ORIGIN}/")
        # The picture on the canvas is neither empty nor always the same.
        page.evaluate("window.seen = new Set()")
        page.wait_for_function(
            """() => {
                const picture = document.querySelector("canvas").toDataURL();
                window.seen.add(picture);
                return window.seen.size > 3;
            }""",
            timeout=WAIT_MS,
        )
        assert page.evaluate("document.querySelector('canvas').width") == 240
        assert not [each for each in complaints if "favicon" not in each]
    finally:
        context.close()
