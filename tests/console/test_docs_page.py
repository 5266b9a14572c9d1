# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests "Try it out" on the page /docs: it works for every route with the values already there."""

from __future__ import annotations

import pytest
from playwright.sync_api import Locator, Page, Response

from app.blueprints.openapi import document
from app.rendering.options import DepthOptions
from benchmarks.service import Service
from tests.console.conftest import Visit
from tests.console.user import DESKTOP, photo

pytestmark = pytest.mark.timeout(600)


def execute(page: Page, block: Locator) -> Response:
    """Fill a photo into the file field and press Execute; a map of one's own is left out."""
    for field in block.locator("tr:not([data-property-name=depth]) input[type=file]").all():
        picture = {"name": "lake.jpg", "mimeType": "image/jpeg", "buffer": photo()}
        field.set_input_files(picture)  # type: ignore[arg-type]
    # If the form is incomplete, nothing is sent and this times out.
    with page.expect_response(lambda _: True, timeout=30_000) as answer:
        block.get_by_role("button", name="Execute").click()
    return answer.value


def test_try_it_out_works_with_its_own_defaults(visit: Visit, demo: Service) -> None:
    routes = {
        (path, method.upper())
        for path, methods in document()["paths"].items()
        for method, operation in methods.items()
        # Deletion has no example, so that nobody deletes a model by trying it out.
        if method != "delete" and operation.keys() & {"parameters", "requestBody"}
    }
    page = visit(demo, "/docs", **DESKTOP)
    blocks = page.locator(".opblock")
    blocks.first.wait_for()
    tried = {}
    for block in blocks.all():
        path = block.locator(".opblock-summary-path").inner_text().replace("\u200b", "")
        method = block.locator(".opblock-summary-method").inner_text()
        if (path, method) not in routes:
            continue
        block.locator(".opblock-summary-control").click()
        block.get_by_role("button", name="Try it out").click()
        kinds = block.locator("select[aria-label='Request content type'] option")
        for kind in kinds.all_inner_texts() or [""]:
            if kind:
                block.get_by_label("Request content type").select_option(kind)
            answer = execute(page, block)
            # Adding a model asks the hub, which this service may not do.
            expected = 503 if (path, method) == ("/api/models", "POST") else 200
            assert answer.status == expected, (path, kind, answer.text())
            tried[path, kind] = answer
        block.locator(".opblock-summary-control").click()
    assert tried["/api/depth", "multipart/form-data"].header_value("Content-Type") == "image/png"
    assert ("/embed-image", "multipart/form-data") in tried
    batch = tried["/embed-batch", "application/json"].json()
    assert (batch["succeeded"], batch["failed"]) == (2, 0)
    assert len(tried["/v1/embeddings", "application/json"].json()["data"]) == 2


def test_an_option_of_depth_stands_there_once(visit: Visit, demo: Service) -> None:
    page = visit(demo, "/docs", **DESKTOP)
    block = page.locator("#operations-default-post_api_depth")
    block.locator(".opblock-summary-control").click()
    block.get_by_role("button", name="Try it out").click()
    names = block.locator("td .parameter__name").all_inner_texts()
    shown = [name.split()[0] for name in names]
    assert sorted(shown) == sorted(["model", "image", "depth", *DepthOptions.model_fields])
    # The same form can request a stereo pair.
    block.locator("tr[data-property-name=stereo] select").select_option("sbs")
    answer = execute(page, block)
    assert answer.status == 200, answer.text()
    assert "lake_LRF_Full_SBS.png" in (answer.header_value("Content-Disposition") or "")
