# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests ``POST /api/models`` on a running service: soon afterwards every worker has the model."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

from benchmarks.service import Service
from tests.contract import check
from tests.fake_hub import FakeHub
from tests.process.caches import MINE, publish_depth
from tests.services import PHOTO
from tests.waiting import wait_for

KEYS = {"mine", "other"}


@pytest.fixture
def service(built_in: Path, tmp_path: Path) -> Iterator[Service]:
    shutil.copytree(built_in, tmp_path / "cache", symlinks=True)
    publish_depth(tmp_path / "published")
    publish_depth(tmp_path / "published", "me/other")
    with FakeHub(tmp_path / "published").running() as hub:
        service = Service(
            tmp_path / "log",
            HF_HUB_CACHE=tmp_path / "cache",
            HF_ENDPOINT=hub.endpoint,
            DEPTH_MODEL="builtin-depth",
            DEFAULT_MODEL="builtin-clip",
            WEB_CONCURRENCY=2,
            WARMUP_ON_STARTUP="false",
        )
        with service.started():
            service.wait_for("/health", 200)
            wait_for(lambda: len(service.workers()) == 2, service=service)
            yield service


def listed(service: Service) -> set[str]:
    models = check.json(service.get("/api/models?type=all"))["models"]
    return {model["key"] for model in models}


def test_two_models_at_once(service: Service) -> None:
    before = {worker.pid for worker in service.workers()}
    is_over, statuses = threading.Event(), []

    def ask() -> None:
        while not is_over.is_set():
            statuses.append(service.get("/health").status_code)

    def add(key: str) -> requests.Response:
        source = MINE if key == "mine" else "me/other"
        return service.post("/api/models", json={"key": key, "source": source})

    with ThreadPoolExecutor() as pool:
        asking = pool.submit(ask)
        try:
            for answer in pool.map(add, KEYS):
                assert answer.status_code == 202, answer.text
                assert answer.json()["family"] == "depth_anything"
                assert "appears in the list in some seconds" in answer.json()["message"]
            wait_for(lambda: not before & {each.pid for each in service.workers()})
            # Ten requests, because each may be answered by either worker.
            wait_for(lambda: all(listed(service) >= KEYS for _ in range(10)), service=service)
        finally:
            is_over.set()
        asking.result()
    assert set(statuses) == {200}, "no request fails meanwhile"
    check.json(service.post("/api/models/mine/load"))
    answer = service.post("/api/depth?model=mine", files={"image": ("a.png", PHOTO)})
    check.depth_map(answer)
    assert answer.headers["X-Model-Used"] == "mine"
