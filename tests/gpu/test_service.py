# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests a service on a GPU: what it reports about the device, and two batches at a time."""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from app.blueprints.application import create_app
from app.runtime import Runtime
from benchmarks.service import Service
from config.settings import Settings
from tests.contract import check
from tests.gpu.agreement import COSINE, check_maps, check_vectors
from tests.pictures import encoded, picture

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA or ROCm device here"),
]
ROUNDS = 6


@pytest.fixture
def settings(hub: Path) -> Settings:
    return Settings(hf_hub_cache=hub, hf_hub_offline=True, image_embedder_concurrency=2)


def test_health_names_engine_precision_and_device(runtime: Runtime, settings: Settings) -> None:
    client = create_app(settings, runtime).test_client()
    for key in ("small", "ViT-B-16"):
        runtime.operations.load(runtime.registry.get(key), "gpu", lambda: None)
    health: dict[str, Any] = client.get("/health").get_json()
    assert (health["engine"], health["precision"]) == ("torch", "fp16")
    assert health["device"]["type"].startswith("cuda")
    loaded = [each for each in health["models"] if each["loaded"]]
    assert {each["name"] for each in loaded} == {"small", "ViT-B-16"}
    assert {(each["engine"], each["precision"]) for each in loaded} == {("torch", "fp16")}


def test_a_service_on_cuda_answers_its_clients(hub: Path, tmp_path: Path) -> None:
    """A forked service answers over HTTP, often enough that CUDA graphs are in use."""
    photo = encoded(picture(320, 240))
    with Service(tmp_path / "log", HF_HUB_CACHE=hub, HF_HUB_OFFLINE=1).started() as running:
        running.wait_until_warm()
        assert check.json(running.get("/health"))["device"]["type"].startswith("cuda")
        maps, vectors = [], []
        for _ in range(4):
            answer = running.post("/api/depth", files={"image": ("a.png", photo)})
            maps.append(check.depth_map(answer))
            answer = running.post("/embed-image", files={"image": ("a.png", photo)})
            vectors.append(np.array(check.json(answer)["embedding"], np.float32))
        check.error(running.post("/api/depth", files={"image": ("a", b"no image")}), 400)
        assert check.json(running.post("/admin/cleanup"))["gpu_allocated_mb"] > 0
        answer = running.post("/api/depth", files={"image": ("a.png", photo)})
        maps.append(check.depth_map(answer))
        assert "without a CUDA graph" not in running.text()
    assert maps[0].shape == (240, 320)
    for one in maps:
        check_maps([one], [maps[0]])
    for vector in vectors:
        check_vectors([vector], [vectors[0]], COSINE["fp16"])


def test_two_device_threads_at_once_give_right_answers(runtime: Runtime) -> None:
    depth, clip = (runtime.registry.get(key) for key in ("small", "ViT-B-16"))
    # There are two shapes of photos, so that batches of both run at the same time.
    sizes = [(320, 240), (240, 320), (320, 240), (240, 320)]
    photos = [encoded(picture(*size, seed)) for seed, size in enumerate(sizes)]

    def map_of(photo: bytes) -> NDArray[np.uint8]:
        png = runtime.depth.run(io.BytesIO(photo), depth).file
        return np.asarray(Image.open(io.BytesIO(png)).resize((320, 320)))

    def vector_of(photo: bytes) -> NDArray[np.float32]:
        found = runtime.embedding.images(
            [io.BytesIO(photo)], clip, normalize=True, image_size=None
        ).vectors[0]
        assert isinstance(found, np.ndarray)
        return found

    maps, vectors = [map_of(photo) for photo in photos], [vector_of(photo) for photo in photos]
    with ThreadPoolExecutor(16) as pool:
        many_maps = pool.map(map_of, photos * ROUNDS)
        many_vectors = pool.map(vector_of, photos * ROUNDS)
        for _ in range(ROUNDS):
            check_maps([next(many_maps) for _ in photos], maps)
            check_vectors([next(many_vectors) for _ in photos], vectors, COSINE["fp16"])
