# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests that both workers report the same progress of a download, from its start to its end."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle
from typing import Any

import pytest
import torch

from app.models.depth_anything import DepthAnything
from benchmarks.checkpoints.hub_cache import Repository
from benchmarks.service import Service
from config.settings import Settings
from tests.contract import check
from tests.fake_hub import FakeHub
from tests.pictures import encoded, picture
from tests.process.conftest import only
from tests.scrape import Scrape

PIECE = 10 * 2**20
FIGURES = {"downloaded_bytes", "total_bytes", "progress"}


@pytest.fixture(scope="module")
def slow_hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeHub]:
    """Run a hub with one model of 48 MB, which arrives in pieces of 10 MiB."""
    cache = tmp_path_factory.mktemp("hub")
    repository = Settings().table().model[0].hub_id
    assert repository is not None
    small = dict.fromkeys(DepthAnything.FILES[:2], "{}")
    weights = {"w": torch.zeros(12_000_000)}
    Repository(repository, small, DepthAnything.FILES[2], weights).write(cache)
    hub = FakeHub(cache)
    with hub.running():
        yield hub


@pytest.fixture(scope="module")
def service(
    start: Callable[..., Service], slow_hub: FakeHub, tmp_path_factory: pytest.TempPathFactory
) -> Service:
    return start(
        ready=False,
        WEB_CONCURRENCY=2,
        HF_HUB_CACHE=tmp_path_factory.mktemp("cache"),
        HF_ENDPOINT=slow_hub.endpoint,
        HF_HUB_OFFLINE=0,
        ENABLED_FAMILIES="depth",
        DEPTH_MODEL="builtin-depth",
        WARMUP_ON_STARTUP="false",
    )


def in_ready(service: Service, key: str) -> dict[str, Any]:
    models = service.get("/ready").json()["models"]
    return next(model for model in models if model["name"] == key)


def test_progress_grows_whichever_worker_is_asked(service: Service, slow_hub: FakeHub) -> None:
    # The hub sends no more until the test has seen what it has sent, but for less than a piece.
    holds = iter((25_000_000, 36_000_000))
    slow_hub.hold_at = 12_000_000
    told, ready, scraped, reasons = [], [], [], []
    photo = encoded(picture(60, 40))
    workers = cycle(service.workers())
    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(service.post, "/api/models/small/download")
        while not done.done():
            with only(next(workers), service):
                told.append(check.json(service.get("/api/models/small")))
                ready.append(in_ready(service, "small"))
                if slow_hub.hold_at is not None:  # else the model may be complete, and be loaded
                    files = {"image": ("a.png", photo)}
                    refused = service.post("/api/depth?model=small", files=files)
                    check.error(refused, 503)
                    reasons.append(refused.json())
                scrape = Scrape(service.get("/metrics").text)
                scraped.append(scrape.total("twinlens_model_downloaded_bytes", model="small"))
            arrived = told[-1].get("downloaded_bytes", 0)
            if slow_hub.hold_at is not None and arrived > slow_hub.hold_at - PIECE:
                slow_hub.hold_at = next(holds, None)
        assert check.json(done.result())["success"]
    for refusal in reasons:
        assert refusal["error"] == "Model not initialized"
        assert refusal["message"] == "Depth estimation model is not available"
        assert refusal["reason"]
    words = r"its weights are not on disk yet; downloading them, (\d+) % so far"
    so_far = [re.fullmatch(words, each["reason"]) for each in reasons]
    assert len({found[1] for found in so_far if found}) >= 2
    for answers in (told, ready):
        under_way = [each for each in answers if "progress" in each]
        assert {each["state"] for each in under_way} == {"downloading"}
        progress = [each["progress"] for each in under_way]
        assert progress == sorted(progress)
        assert len(set(progress)) >= 3
        assert all(0 <= each <= 1 for each in progress)
        for each in under_way:
            assert each["total_bytes"] > 48_000_000
            assert each["progress"] == each["downloaded_bytes"] / each["total_bytes"]
    assert len(set(scraped)) >= 3
    lines = re.findall(r"downloading small: (\d+) of 48 MB \((\d+) %\)", service.text())
    assert len(lines) >= 3
    assert lines == sorted(set(lines)), "each further tenth once"
    for worker in service.workers():
        with only(worker, service):
            after = check.json(service.get("/api/models/small"))
            assert (after["state"], after["is_downloaded"]) == ("not_loaded", True)
            assert not FIGURES & set(after)
            assert not FIGURES & set(in_ready(service, "small"))


def test_a_download_that_failed_says_why(service: Service) -> None:
    check.error(service.post("/api/models/large/download"), 500)
    photo = encoded(picture(60, 40))
    refused = service.post("/api/depth?model=large", files={"image": ("a.png", photo)})
    assert check.error(refused, 503) == "Depth estimation model is not available"
    assert "the hub does not know this repository" in refused.json()["reason"]
    for worker in service.workers():
        with only(worker, service):
            large = check.json(service.get("/api/models/large"))
            assert (large["state"], large["is_downloaded"]) == ("unavailable", False)
            assert "the hub does not know this repository" in large["reason"]
            assert not FIGURES & set(large)


def test_a_model_alone_is_as_in_the_list(service: Service) -> None:
    listed = check.json(service.get("/api/models?type=all"))["models"]
    for model in listed:
        alone = check.json(service.get(f"/api/models/{model['key']}"))
        assert alone == alone | model
    check.error(service.get("/api/models/huge"), 400, "Unknown model")
