# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests the service's processes: the fork, both ports, a start without weights, and the end."""

from __future__ import annotations

import io
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.service import PROJECT, Service
from tests.fake_hub import FakeHub
from tests.pictures import encoded, picture


def ask(service: Service, port: int, number: int) -> NDArray[np.float64]:
    """Send a request, for depth if ``number`` is odd; return the map or the vector."""
    if number % 2:
        files = {"image": ("a.png", encoded(picture(300 + number, 200)))}
        response = service.post("/api/depth", port, files=files)
    else:
        files = {"image": ("a.png", encoded(picture(200 + number, 300)))}
        response = service.post("/embed-image", port, files=files)
    assert response.status_code == 200, response.text
    if number % 2:
        return np.asarray(Image.open(io.BytesIO(response.content)), float)
    return np.asarray(response.json()["embedding"])


def test_inference_works_in_forked_workers_and_all_ends_well(hub: Path, tmp_path: Path) -> None:
    service = Service(
        tmp_path / "log",
        config=PROJECT / "tests" / "process" / "main_thread.conf.py",
        HF_HUB_CACHE=hub,
        WEB_CONCURRENCY=2,
    )
    with service.started():
        service.wait_until_ready()
        assert len(service.workers()) == 2
        ports = [service.depth_port, service.embedder_port] * 12
        with ThreadPoolExecutor(8) as pool:
            first = list(pool.map(ask, [service] * 24, ports, range(24)))
            again = list(pool.map(ask, [service] * 24, reversed(ports), range(24)))
        for one, other in zip(first, again, strict=True):
            # Vectors come from batches of different sizes, which round differently.
            assert one.shape == other.shape
            assert np.abs(one - other).max() < 1e-5
        workers = service.workers()
        assert service.stop() == 0
        assert not any(worker.is_running() for worker in workers)
    text = service.text()
    assert text.count("warmed small on the main thread") == 2
    assert "ERROR" not in text
    assert "Traceback" not in text


def test_the_word_of_health_depends_on_the_listener(service: Service) -> None:
    def word(port: int, host: str | None = None) -> str:
        headers = {"Host": host} if host else {}
        answer = service.get("/health", port, headers=headers)
        assert answer.status_code == 200
        return str(answer.json()["status"])

    assert word(service.depth_port) == "healthy"
    assert word(service.embedder_port) == "ok"
    assert word(service.embedder_port, f"127.0.0.1:{service.depth_port}") == "ok"
    assert word(service.depth_port, "example.org:8000") == "healthy"


def test_start_does_not_wait_for_a_download(hub: Path, tmp_path: Path) -> None:
    with FakeHub(hub).running() as fake_hub:
        fake_hub.stall_at = 1000
        service = Service(
            tmp_path / "log", HF_HUB_CACHE=tmp_path / "cache", HF_ENDPOINT=fake_hub.endpoint
        )
        with service.started():
            assert service.wait_for("/health", 200).json()["model_status"] != "loaded"
            deadline = time.monotonic() + 90
            while "downloading" not in service.get("/ready").text:
                assert time.monotonic() < deadline, service.get("/ready").text
            ready = service.get("/ready")
            assert ready.status_code == 503
            assert ready.json()["ready"] is ready.json()["default_model_loaded"] is False
            files = {"image": ("a.png", encoded(picture(100, 100)))}
            refused = service.post("/api/depth", files=files)
            assert refused.status_code == 503
            assert refused.json()["message"] == "Depth estimation model is not available"
            assert int(refused.headers["Retry-After"]) > 0
            fake_hub.stall_at = None
            service.wait_until_ready()
            files = {"image": ("a.png", encoded(picture(100, 100)))}
            assert service.post("/embed-image", files=files).status_code == 200
        assert service.text().count("is complete") == 2


def test_without_a_hub_it_starts_and_says_what_to_do(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    service = Service(tmp_path / "log", HF_HUB_CACHE=cache, HF_ENDPOINT="http://127.0.0.1:9")
    with service.started():
        service.wait_for("/health", 200)
        deadline = time.monotonic() + 90
        while "cannot be reached" not in service.get("/ready").text:
            assert time.monotonic() < deadline, service.get("/ready").text
        assert service.get("/ready").status_code == 503
        lines = [line for line in service.text().splitlines() if "`make demo`" in line]
        assert lines
        assert all("HF_ENDPOINT" in line for line in lines)
        assert service.stop() == 0


def test_without_warm_up_it_is_ready_as_soon_as_weights_are_there(
    hub: Path, tmp_path: Path
) -> None:
    service = Service(
        tmp_path / "log", HF_HUB_CACHE=hub, WARMUP_ON_STARTUP="false", ENABLED_FAMILIES="depth"
    )
    with service.started():
        service.wait_until_ready()
        assert service.get("/health").json()["model_status"] == "not_loaded"
        files = {"image": ("a.png", encoded(picture(100, 100)))}
        assert service.post("/api/depth", files=files).status_code == 200
        off = service.post("/embed-image", files=files)
        assert off.status_code == 404
        assert "ENABLED_FAMILIES" in off.json()["message"]
