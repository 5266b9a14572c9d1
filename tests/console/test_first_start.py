# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests a first start with an empty cache.

The progress bar moves, the built-in model is offered, and then the downloaded model answers.
"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from playwright.sync_api import Route, expect

from benchmarks.checkpoints.__main__ import make
from benchmarks.service import Service
from tests.console.conftest import Visit
from tests.console.test_accessibility import check
from tests.console.user import choose, photo, wait_for_depth
from tests.fake_hub import FakeHub

pytestmark = pytest.mark.timeout(600)


def test_while_the_model_is_downloaded_the_built_in_one_is_offered(
    visit: Visit, tmp_path: Path
) -> None:
    (repository,) = make("small", small_scale=True)
    # The hub client writes in pieces of 10 MiB, so the file has to be larger than that. The model
    # ignores tensors that it does not know.
    padding = {"padding": torch.zeros(8_000_000)}
    replace(repository, weights=repository.weights | padding).write(tmp_path / "hub")
    with FakeHub(tmp_path / "hub").running() as hub:
        hub.hold_at = 15_000_000
        service = Service(
            tmp_path / "log",
            HF_HUB_CACHE=tmp_path / "cache",
            HF_ENDPOINT=hub.endpoint,
            ENABLED_FAMILIES="depth",
            WARMUP_ON_STARTUP="false",
            ENGINE="torch",  # needs no conversion
            PRECISION="fp32",
        )
        with service.started():
            service.wait_for("/health", 200)
            page = visit(service, "/health", phone=True)
            # The photo is faster than the list of models, as on a slow network.
            slow: list[Route] = []
            page.route("**/api/models?type=all", lambda route: slow.append(route), times=1)
            with page.expect_request("**/api/models?type=all"):
                page.goto(service.url("/ui"))
            choose(page, ("lake.jpg", photo()))
            bar = page.get_by_role("progressbar", name="Depth Anything V2 Small is being").first
            expect(page.locator("#depth-activity .detail")).to_contain_text("10 of 33 MB")
            slow[0].continue_()
            assert 0.3 < float(bar.get_attribute("value") or 0) < 0.4
            asked: list[str] = []
            page.on("request", lambda request: asked.append(request.url))
            began = time.monotonic()
            check(page, tmp_path / "downloading.png")
            pulse = page.locator("#pulse")
            expect(pulse).to_contain_text("downloading, 10 of 33 MB")
            expect(pulse).to_have_attribute("data-state", "busy")
            waiting = page.locator("#depth-activity")
            waiting.get_by_role("button", name="Use the built-in model now").click()
            fine = page.locator("#depth-fine")
            expect(fine).to_contain_text("By Twinlens built-in depth · in")
            expect(bar).to_be_visible()  # the download goes on
            page.wait_for_timeout(2000)
            looks = sum(url.endswith("/api/models/small") for url in asked)
            assert 1 <= looks <= 1.4 * (time.monotonic() - began) + 1, "about once a second"
            hub.hold_at = None
            expect(fine).to_contain_text("By Depth Anything V2 Small · in")
            expect(fine).to_contain_text("random weights")
            wait_for_depth(page)
            expect(pulse).to_have_text("ready")
            expect(page.get_by_label("Depth model")).to_contain_text("Small (loaded)")
            row = page.get_by_role("listitem").filter(has_text="Depth Anything V2 Small")
            row.get_by_role("button", name="Delete Depth Anything V2 Small").click()
            row.get_by_role("button", name="Delete its files? Depth Anything V2 Small").click()
            row.get_by_role("button", name="Download Depth Anything V2 Small").wait_for()
