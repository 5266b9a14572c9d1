# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Runs the console in a real browser: Debian's Chromium, driven through Playwright."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Protocol

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from benchmarks.service import Service
from tests.console.user import PHONE, WAIT_MS

_ARGUMENTS = [
    "--no-sandbox",  # tests may run as root
    "--disable-gpu",  # the CPU draws WebGL
    # These options keep the browser itself from using the network.
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
#: opens a page: call ``visit(service)``, with options of a browser context
Visit = Callable[..., Page]


# The scope is not the session, because this thread is in an event loop while the browser runs.
@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    expect.set_options(timeout=WAIT_MS)
    with sync_playwright() as playwright:
        path = shutil.which("chromium")
        with playwright.chromium.launch(executable_path=path, args=_ARGUMENTS) as started:
            yield started


class Place(Protocol):
    """What can be visited: a service, or one behind a proxy."""

    def url(self, path: str) -> str:
        """The address of a path of the service."""


@contextmanager
def visitor(browser: Browser) -> Iterator[Visit]:
    """Yield a function that opens pages; then check that none had errors or asked another host."""
    complaints: list[str] = []
    with ExitStack() as stack:

        def visit(service: Place, path: str = "/", **options: Any) -> Page:
            # The CPU draws, so that views that move by themselves are costly.
            options = {"reduced_motion": "reduce"} | options
            if options.pop("phone", False):
                options = PHONE | options
            context = browser.new_context(**options)
            stack.callback(context.close)
            context.set_default_timeout(WAIT_MS)
            _listen(context, service.url("/"), complaints)
            page = context.new_page()
            page.goto(service.url(path))
            return page

        yield visit
    assert not complaints


def _listen(context: BrowserContext, origin: str, complaints: list[str]) -> None:
    host = "/".join(origin.split("/")[:3])  # the addresses of blobs have no path of a proxy

    def asked(url: str) -> None:
        if not url.startswith((origin, f"blob:{host}/")):
            complaints.append(f"asks {url}")

    def listen(page: Page) -> None:
        page.on("pageerror", lambda error: complaints.append(str(error)))

    context.on("request", lambda request: asked(request.url))
    context.on("page", listen)
    # The console logs violations of the Content-Security-Policy as errors, too. Messages about
    # error statuses of answers are ignored, because tests provoke some on purpose.
    context.on(
        "console",
        lambda message: (
            complaints.append(message.text)
            if message.type == "error" and "Failed to load resource" not in message.text
            else None
        ),
    )


@pytest.fixture
def visit(browser: Browser) -> Iterator[Visit]:
    with visitor(browser) as opened:
        yield opened


@pytest.fixture
def another(demo: Service, tmp_path: Path) -> Iterator[Callable[..., Service]]:
    """Yield a function that starts services with other settings on the cache of ``demo``."""
    with ExitStack() as stack:

        def start(**environ: Any) -> Service:
            ours = {
                name: demo.environ[name]
                for name in ("HF_HUB_CACHE", "HF_HUB_OFFLINE", "DEPTH_MODEL", "DEFAULT_MODEL")
            }
            service = Service(tmp_path / "log", **ours | environ)
            stack.enter_context(service.started())
            service.wait_for("/health", 200)
            return service

        yield start
