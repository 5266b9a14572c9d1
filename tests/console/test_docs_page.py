# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests "Try it out" on the page /docs: it works for every route with the values already there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, Response, expect

from app.blueprints.application import create_app
from app.blueprints.openapi import document
from app.blueprints.openapi_parts import TAGS
from app.rendering.options import DepthOptions
from app.runtime import Runtime
from benchmarks.service import Service
from config.settings import Settings
from tests.console.below import Below, below_a_path
from tests.console.conftest import Visit
from tests.console.user import DESKTOP, photo

pytestmark = pytest.mark.timeout(600)


def execute(page: Page, block: Locator) -> Response:
    """Press Execute once the page has put its own example into the field for a file."""
    fields = "tr[data-property-name=image], tr[data-property-name=video]"
    for field in block.locator(fields).locator("input[type=file]").all():
        expect(field).to_have_value(re.compile(r"example\.(jpg|mp4)$"))
    # If the form is incomplete, nothing is sent and this times out.
    with page.expect_response(lambda answer: "/docs/" not in answer.url, timeout=30_000) as answer:
        block.get_by_role("button", name="Execute").click()
    return answer.value


def names_of(block: Locator) -> list[str]:
    """Return the names of all parameters and fields of a route."""
    names = block.locator("td .parameter__name").all_inner_texts()
    return [name.split()[0] for name in names]


@pytest.fixture(scope="module")
def below(demo: Service, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Below]:
    with below_a_path(demo, tmp_path_factory.mktemp("nginx")) as place:
        yield place


def test_try_it_out_works_with_its_own_defaults(visit: Visit, below: Below) -> None:
    """The page is seen below a path; any request beside that path would be a complaint."""
    routes = {
        (path, method.upper())
        for path, methods in document()["paths"].items()
        for method, operation in methods.items()
        # Deletion has no example, so that nobody deletes a model by trying it out.
        if method != "delete" and operation.keys() & {"parameters", "requestBody"}
        # Nobody knows the id of a job before there is one.
        if not path.startswith("/api/jobs/")
    }
    page = visit(below, "/docs", **DESKTOP)
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
        assert len(names_of(block)) == len(set(names_of(block))), path
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
    depth = tried["/api/depth", "multipart/form-data"]
    assert depth.header_value("Content-Type") == "image/png"
    assert b"null" not in (depth.request.post_data_buffer or b"")
    assert ("/embed-image", "multipart/form-data") in tried
    batch = tried["/embed-batch", "application/json"].json()
    assert (batch["succeeded"], batch["failed"]) == (2, 0)
    assert len(tried["/v1/embeddings", "application/json"].json()["data"]) == 2


def test_an_option_of_depth_stands_there_once(visit: Visit, demo: Service) -> None:
    page = visit(demo, "/docs", **DESKTOP)
    block = page.locator("#operations-Depth-post_api_depth")
    block.locator(".opblock-summary-control").click()
    block.get_by_role("button", name="Try it out").click()
    expected = ["model", "image", "depth", *DepthOptions.model_fields]
    assert sorted(names_of(block)) == sorted(expected)
    # The same form can request a stereo pair, of a photo of one's own.
    photo_field = block.locator("tr[data-property-name=image] input[type=file]")
    expect(photo_field).to_have_value(re.compile("example"))
    picture = {"name": "lake.jpg", "mimeType": "image/jpeg", "buffer": photo()}
    photo_field.set_input_files(picture)  # type: ignore[arg-type]
    block.locator("tr[data-property-name=stereo] select").select_option("sbs")
    with page.expect_response("**/api/depth*") as response:
        block.get_by_role("button", name="Execute").click()
    answer = response.value
    assert answer.status == 200, answer.text()
    assert "lake_LRF_Full_SBS.png" in (answer.header_value("Content-Disposition") or "")


def test_the_page_is_in_order(visit: Visit, demo: Service) -> None:
    page = visit(demo, "/docs", **DESKTOP)
    page.locator(".opblock").first.wait_for()
    assert page.locator(".opblock-tag").evaluate_all("them => them.map(it => it.dataset.tag)") == [
        *TAGS
    ]
    # Bodies' shapes are folded, and a service without a key asks for none.
    assert page.locator(".models.is-open").count() == 0
    assert page.locator(".models").count() == 1
    assert page.locator(".authorization__btn, .authorize").count() == 0


@pytest.mark.parametrize(
    ("scope", "open_ones"),
    [
        ("all", {"/", "/health", "/ready"}),
        ("embedding", {"/", "/health", "/ready", "/api/depth"}),
    ],
)
def test_padlocks_where_a_key_is_needed(scope: str, open_ones: set[str], built_in: Path) -> None:
    settings = Settings(
        hf_hub_cache=built_in,
        hf_hub_offline=True,
        depth_model="builtin-depth",
        default_model="builtin-clip",
        service_api_key="s3cret",
        service_api_key_for=scope,
    )
    served = create_app(settings, Runtime(settings)).test_client().get("/openapi.json").get_json()
    assert served["security"] == [{"key": []}, {"bearer": []}]
    checked = {"/", "/health", "/ready", "/api/depth", "/embed-image", "/api/models", "/metrics"}
    no_key = {
        path
        for path in checked
        if all(each.get("security") == [] for each in served["paths"][path].values())
    }
    assert no_key == open_ones
