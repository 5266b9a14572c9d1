# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests that the service survives and reports full disks, damaged files and missing folders."""

from __future__ import annotations

import resource
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.service import Service
from tests.fake_hub import FakeHub
from tests.process.conftest import SMALL

FILES = {"image": ("a.png", SMALL)}


def weights_of(cache: Path, name: str) -> Path:
    return next(cache.glob(f"models--*{name}*/snapshots/*/*model.safetensors"))


def garbage(path: Path) -> None:
    path.write_bytes(b"\xff" * 1000)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:5000])


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def empty(path: Path) -> None:
    path.write_bytes(b"")


def test_damaged_checkpoints_take_only_their_models_away(
    start: Callable[..., Service], hub: Path, tmp_path: Path
) -> None:
    cache = tmp_path / "hub"
    shutil.copytree(hub, cache)  # makes copies of the files that links point to
    damages = {"Small": garbage, "Base": cut, "Large": folder, "base_patch16": empty}
    for name, damage in damages.items():
        damage(weights_of(cache, name))
    service = start(HF_HUB_CACHE=cache, WEB_CONCURRENCY=2)
    for key in ("small", "base", "large"):
        refused = service.post(f"/api/depth?model={key}", files=FILES)
        assert refused.status_code == 503, key
        assert refused.json()["message"] == "Depth estimation model is not available"
    bad = service.post("/embed-image", files=FILES, data={"model": "ViT-B-16"})
    assert bad.status_code == 503
    assert "damaged" in bad.json()["message"]
    assert service.post("/embed-image", files=FILES).status_code == 200
    health = service.get("/health")
    assert health.status_code == 200
    assert str(tmp_path) not in health.text
    for model in health.json()["models"]:
        if model["name"] == "ViT-L-14":
            assert model["state"] == "loaded"
        elif model["name"] in ("small", "base", "ViT-B-16"):  # large counts as not on disk
            assert model["state"] == "unavailable"
            assert "damaged" in model["reason"]
    assert "small is unavailable" in service.text()
    assert service.text().count("Booting worker") == 2, "no crash loop"


def test_a_missing_cache_folder_is_made(hub: Path, tmp_path: Path) -> None:
    with FakeHub(hub).running() as fake_hub:
        service = Service(
            tmp_path / "log",
            HF_HUB_CACHE=tmp_path / "not" / "there",
            HF_ENDPOINT=fake_hub.endpoint,
            ENABLED_FAMILIES="depth",
        )
        with service.started():
            service.wait_until_ready()
            assert service.post("/api/depth", files=FILES).status_code == 200


def test_a_cache_that_cannot_be_made_is_told(hub: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with FakeHub(hub).running() as fake_hub:
        service = Service(
            tmp_path / "log",
            HF_HUB_CACHE=tmp_path / "file" / "cache",
            HF_ENDPOINT=fake_hub.endpoint,
            ENABLED_FAMILIES="depth",
        )
        with service.started():
            service.wait_for("/health", 200)
            wait_for_reason(service, "could not be written")
            assert service.post("/api/depth", files=FILES).status_code == 503
            assert service.text().count("Booting worker") == 1


def wait_for_reason(service: Service, words: str) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if words in service.get("/ready").text:
            return
        time.sleep(0.05)
    raise AssertionError(f"{service.get('/ready').text}\n{service.text()}")


def test_a_full_disk_at_download(hub: Path, tmp_path: Path) -> None:
    """A limit of 64 KiB per file makes writes fail like a full disk."""
    with FakeHub(hub).running() as fake_hub:
        service = Service(
            tmp_path / "log",
            HF_HUB_CACHE=tmp_path / "cache",
            HF_ENDPOINT=fake_hub.endpoint,
            ENABLED_FAMILIES="depth",
            LOG_FILE=tmp_path / "service.log",
        )
        with service.started():
            resource.prlimit(service.pid, resource.RLIMIT_FSIZE, (65536, 65536))
            service.wait_for("/health", 200)
            wait_for_reason(service, "could not be written (File too large)")
            # The log files soon reach the limit, too.
            for _ in range(1000):
                assert service.get("/models").status_code == 404
            assert service.log.stat().st_size == 65536
            assert service.post("/api/depth", files=FILES).status_code == 503
            assert len(service.workers()) == 1
            assert service.text().count("Booting worker") == 1


def test_a_full_disk_at_log_time(start: Callable[..., Service], hub: Path, tmp_path: Path) -> None:
    """If the log file cannot be written, clients notice nothing."""
    service = start(HF_HUB_CACHE=hub, LOG_FILE="/dev/full")
    for _ in range(5):
        assert service.post("/api/depth", files=FILES).status_code == 200
    assert service.text().count("Booting worker with") >= 1
    assert len(service.workers()) == 1
