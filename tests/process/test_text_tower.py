# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests that the text tower is loaded at the first text and unloaded together with its model."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import requests

from app.engines.openvino.conversions import Conversions
from benchmarks.models import checkpoint_of, source
from benchmarks.service import Service
from config.settings import Settings
from tests.pictures import encoded, picture

FILES = {"image": ("a.png", encoded(picture(60, 40)))}


def text(service: Service, **options: Any) -> requests.Response:
    return service.post("/embed-text", json={"text": "a cat", **options})


def state(service: Service, key: str = "ViT-L-14") -> tuple[str, str | None]:
    models = service.get("/health").json()["models"]
    (found,) = [model for model in models if model["name"] == key]
    return found["state"], found.get("text_state")


def wait_for_state(service: Service, *wanted: str | None) -> None:
    while state(service) != wanted:
        assert service.process.poll() is None, service.text()


KNOWN = set(Settings().table().keys("embedding"))


def test_it_comes_and_goes(start: Callable[..., Service], hub: Path) -> None:
    service = start(HF_HUB_CACHE=hub, WEB_CONCURRENCY=2, ENABLED_FAMILIES="embedding")
    assert state(service) == ("loaded", None)
    before = {model["key"] for model in service.get("/api/models?type=all").json()["models"]}
    assert text(service).status_code == 200
    assert state(service) == ("loaded", "loaded")
    after = service.get("/api/models?type=all").json()["models"]
    assert {model["key"] for model in after} == before == KNOWN
    for path in ("/models", "/v1/models"):
        listed = service.get(path).json()
        assert {model["id"] for model in listed.get("models") or listed["data"]} == KNOWN
    assert service.post("/api/models/ViT-L-14/unload").status_code == 200
    assert state(service) == ("not_loaded", None)
    assert text(service).status_code == 200  # needs no image tower
    assert state(service) == ("not_loaded", "loaded")
    assert service.get("/ready").status_code == 200
    assert service.post("/embed-image", files=FILES).status_code == 200
    assert state(service) == ("loaded", "loaded")
    assert service.post("/api/models/ViT-L-14:text/unload").status_code == 400


def test_it_is_converted_once_and_unloaded_when_idle(hub: Path, tmp_path: Path) -> None:
    cache = tmp_path / "hub"
    shutil.copytree(hub, cache, symlinks=True)
    made = {path.parent for path in cache.glob("*large*/twinlens/*/model.bin")}
    (spec,) = (each for each in Settings().table().model if each.key == "ViT-L-14")
    tower = source(spec, checkpoint_of(spec, cache), "text")
    folder = Conversions(half=True, life=0).find_converted(tower)
    assert folder in made
    shutil.rmtree(folder)
    log = tmp_path / "log"
    service = Service(
        log,
        HF_HUB_CACHE=cache,
        HF_HUB_OFFLINE=1,
        ENABLED_FAMILIES="embedding",
        MODEL_IDLE_SECONDS=2,
    )
    with service.started():
        service.wait_until_ready()
        assert text(service).status_code == 200
        wait_for_state(service, "not_loaded", None)
        assert text(service).status_code == 200
    assert service.text().count("is converted for OpenVINO; this happens once") == 1
    assert {path.parent for path in cache.glob("*large*/twinlens/*/model.bin")} == made


def test_a_text_for_a_model_that_is_missing(start: Callable[..., Service], tmp_path: Path) -> None:
    service = start(ready=False, HF_HUB_CACHE=tmp_path, WARMUP_ON_STARTUP="false")
    for _ in range(2):  # the first request gets the same message as later ones
        answer = text(service, model="ViT-B-16")
        assert answer.status_code == 503
        assert "Retry-After" not in answer.headers  # waiting would not help
        assert answer.json()["error"] == "Model not available"
        message = answer.json()["message"]
        assert message.startswith("ViT-B-16: its weights are not on disk and cannot be downloaded")
        assert "python -m app download ViT-B-16 --output DIR" in message
