# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Runs the npm packages that people view our files with, in a real browser without a network."""

from __future__ import annotations

import mimetypes
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, Route, sync_playwright

HERE = Path(__file__).parent
ORIGIN = "https://viewers.example"
WAIT_MS = 200_000

_ARGUMENTS = [
    "--no-sandbox",  # tests may run as root
    # The CPU draws WebGL.
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    # These options keep the browser itself from using the network.
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


class Viewers:
    """A page that can open files with the packages; it gets them from here, not from a network."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.files: dict[str, bytes] = {}

    def answer(self, route: Route) -> None:
        """Answer a request of the page from ``files`` or this folder."""
        name = route.request.url.removeprefix(ORIGIN).lstrip("/")
        if name in self.files:
            route.fulfill(body=self.files[name], content_type="application/octet-stream")
        elif (HERE / name).is_file():
            kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
            route.fulfill(path=HERE / name, content_type=kind)
        else:
            route.abort()


# The scope is not the session, because this thread is in an event loop while the browser runs.
@pytest.fixture(scope="package")
def viewers() -> Iterator[Viewers]:
    """Yield the page; afterwards check that nothing on it failed."""
    complaints: list[str] = []

    def complain(kind: str, text: str) -> None:
        if kind == "error":
            complaints.append(text)

    with sync_playwright() as playwright:
        path = shutil.which("chromium")
        with playwright.chromium.launch(executable_path=path, args=_ARGUMENTS) as browser:
            page = browser.new_page()
            page.set_default_timeout(WAIT_MS)
            page.on("pageerror", lambda error: complaints.append(str(error)))
            page.on("console", lambda message: complain(message.type, message.text))
            viewers = Viewers(page)
            page.route("**/*", viewers.answer)
            page.goto(f"{ORIGIN}/viewers.html")
            page.wait_for_function("window.ready")
            yield viewers
    assert not complaints
