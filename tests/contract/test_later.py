# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Promises of docs/contracts.md that are not kept yet.

The marks are strict: whoever keeps a promise takes its mark away. They go with the issue on
life under load.
"""

from __future__ import annotations

import io
import os
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests
from PIL import Image

from benchmarks.service import Service
from tests.contract import check
from tests.services import PHOTO

load = pytest.mark.xfail(strict=True, reason="comes with the issue on life under load")
FILES = {"image": ("a.png", PHOTO)}


@pytest.fixture(scope="module")
def tight(start: Callable[..., Service], hub: Path) -> Service:
    """Little memory, no patience."""
    return start(
        HF_HUB_CACHE=hub,
        MAX_PROCESS_MEMORY_MB=1,
        MODEL_IDLE_SECONDS=1,
        ENABLED_FAMILIES="embedding",
    )


@load
def test_health_says_when_memory_is_exceeded(tight: Service) -> None:
    assert tight.get("/health").status_code == 503


@load
def test_an_idle_model_is_unloaded(tight: Service) -> None:
    tight.post("/embed-image", files=FILES)
    time.sleep(2.5)
    assert not any(model["loaded"] for model in tight.get("/health").json()["models"])


@pytest.fixture(scope="module")
def two(start: Callable[..., Service]) -> Service:
    return start(WEB_CONCURRENCY=2, ENABLED_FAMILIES="depth")


@load
def test_a_load_reaches_every_worker(two: Service) -> None:
    one, other = two.workers()
    one.suspend()  # so that the other one takes the load
    check.json(two.post("/api/models/large/load"))
    one.resume()
    other.suspend()  # and this one is asked
    current = two.get("/api/models/current").json()
    other.resume()
    assert current["loaded"] is True


def depth(service: Service, data: bytes) -> requests.Response:
    return service.post("/api/depth", files={"image": ("a.jpg", data)})


def photo(width: int) -> bytes:
    file = io.BytesIO()
    Image.effect_noise((width, width // 8), 50).save(file, "JPEG")
    return file.getvalue()


@load
def test_the_queue_is_summed_over_workers(two: Service) -> None:
    data = photo(4000)
    with ThreadPoolExecutor(12) as pool:
        asked = [pool.submit(depth, two, data) for _ in range(12)]
        time.sleep(0.3)
        seen = [two.get("/health").json()["queue"]["in_flight"] for _ in range(10)]
        assert all(each.result().status_code == 200 for each in asked)
    assert max(seen) > 1


@load
def test_what_waits_at_shutdown_gets_503(start: Callable[..., Service], hub: Path) -> None:
    service = start(HF_HUB_CACHE=hub, ENABLED_FAMILIES="depth")
    data = photo(4000)
    with ThreadPoolExecutor(12) as pool:
        asked = [
            pool.submit(service.post, "/api/depth", files={"image": ("a.jpg", data)})
            for _ in range(12)
        ]
        time.sleep(0.3)
        os.kill(service.pid, signal.SIGTERM)
        codes = [each.result().status_code for each in asked]
    assert 503 in codes


@pytest.fixture(scope="module")
def narrow(start: Callable[..., Service], hub: Path) -> Service:
    """One place to wait, and not for long."""
    return start(
        HF_HUB_CACHE=hub,
        ENABLED_FAMILIES="depth",
        IMAGE_EMBEDDER_MAX_QUEUE=1,
        IMAGE_EMBEDDER_MAX_WAIT_SECONDS=0.2,
    )


def test_a_full_waiting_room_is_429_and_a_long_wait_504(narrow: Service) -> None:
    """Kept already, by one worker."""
    data = photo(4000)
    with ThreadPoolExecutor(8) as pool:
        asked = [
            pool.submit(narrow.post, "/api/depth", files={"image": ("a.jpg", data)})
            for _ in range(8)
        ]
        answers = [each.result() for each in asked]
    codes = {answer.status_code for answer in answers}
    assert codes <= {200, 429, 504}
    assert {200, 429} <= codes
    for answer in answers:
        if answer.status_code == 429:
            check.error(answer, 429)
            assert int(answer.headers["Retry-After"]) > 0
            assert answer.headers["X-Queue-Max-Queue"] == "1"
