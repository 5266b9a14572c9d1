# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests the console's form that adds a model of the hub."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest
from playwright.sync_api import expect

from benchmarks.service import Service
from tests.console.conftest import Visit
from tests.console.test_accessibility import check
from tests.console.user import DESKTOP
from tests.fake_hub import FakeHub
from tests.process.caches import MINE, publish_depth

pytestmark = pytest.mark.timeout(600)


def test_a_model_is_added_by_its_name(visit: Visit, tmp_path: Path) -> None:
    publish_depth(tmp_path / "published")
    with ExitStack() as stack:
        hub = stack.enter_context(FakeHub(tmp_path / "published").running())
        service = Service(
            tmp_path / "log",
            HF_HUB_CACHE=tmp_path / "cache",
            HF_ENDPOINT=hub.endpoint,
            DEPTH_MODEL="builtin-depth",
            DEFAULT_MODEL="builtin-clip",
            WARMUP_ON_STARTUP="false",
            SERVICE_API_KEY="a key",
        )
        stack.enter_context(service.started())
        service.wait_for("/health", 200)
        page = visit(service, **DESKTOP)
        page.get_by_label("Key", exact=True).fill("a key")
        page.get_by_role("button", name="Continue").click()
        form = page.get_by_role("form", name="Add a model from the Hugging Face hub")
        source, key = form.get_by_label("address of its page"), form.get_by_label("Key")
        source.fill("me/unknown")
        key.fill("mine")
        form.get_by_role("button", name="Add the model").click()
        status = form.get_by_role("status")
        expect(status).to_contain_text("the hub does not know this repository")
        check(page, tmp_path / "refused.png")
        source.fill(f"https://huggingface.co/{MINE}")
        key.press("Enter")
        expect(status).to_have_text("depth is in the list. Its licence: CC-BY-NC-4.0.")
        expect(page.get_by_role("button", name="Download depth", exact=True)).to_be_visible()
        expect(source).to_have_value("")


def test_there_is_no_form_where_it_could_do_nothing(visit: Visit, demo: Service) -> None:
    page = visit(demo, **DESKTOP)
    expect(page.locator("#offline")).to_contain_text("HF_HUB_OFFLINE")
    expect(page.locator("#add-model")).to_be_hidden()
