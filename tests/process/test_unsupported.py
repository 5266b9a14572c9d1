# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests that a checkpoint's own settings are followed, or the model is refused with the reason."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from benchmarks.service import Service
from tests.contract import check
from tests.services import PHOTO
from tests.waiting import wait_for

ROWS = """
[[model]]
key = "metric"
family = "depth_anything"
name = "Metric"
hub_id = "example/Metric-hf"
parameters = "25M"
memory = "~100MB"
license = "Apache-2.0"
description = "Distances in metres"

[[model]]
key = "other-mean"
family = "depth_anything"
hub_id = "example/Other-Mean-hf"

[[model]]
key = "nearest"
family = "open_clip"
name = "Nearest"
hub_id = "example/nearest"
parameters = "86M"
memory = "~350MB"
license = "MIT"
description = "Prepared in another way"
dims = 512
image_size = 224
activation = "quick_gelu"
"""


def alter(cache: Path, source: str, target: str, file: str, **changes: object) -> None:
    """Copy a repository with its converted models, and change a file of its configuration."""
    shutil.copytree(cache / source, cache / target, symlinks=True)
    (path,) = (cache / target / "snapshots").glob(f"*/{file}")
    found = json.loads(path.read_text())
    inner = found.get("preprocess_cfg", found)
    inner |= changes
    path.unlink()
    path.write_text(json.dumps(found))


@pytest.fixture(scope="module")
def odd(
    hub: Path, start: Callable[..., Service], tmp_path_factory: pytest.TempPathFactory
) -> Service:
    folder = tmp_path_factory.mktemp("odd")
    cache = folder / "hub"
    shutil.copytree(hub, cache, symlinks=True)
    alter(
        cache,
        "models--depth-anything--Depth-Anything-V2-Small-hf",
        "models--example--Metric-hf",
        "config.json",
        depth_estimation_type="metric",
        max_depth=20,
    )
    alter(
        cache,
        "models--depth-anything--Depth-Anything-V2-Small-hf",
        "models--example--Other-Mean-hf",
        "preprocessor_config.json",
        image_mean=[0.5, 0.5, 0.5],
    )
    alter(
        cache,
        "models--timm--vit_base_patch16_clip_224.openai",
        "models--example--nearest",
        "open_clip_config.json",
        interpolation="nearest",
    )
    table = folder / "models.toml"
    table.write_text(ROWS)
    return start(
        HF_HUB_CACHE=cache,
        MODELS_FILE=table,
        DEPTH_MODEL="metric",
        DEFAULT_MODEL="nearest",
        ready=False,
    )


def test_a_metric_depth_model_is_served_right(odd: Service) -> None:
    """Near is bright in its map; its numbers are metres."""
    files = {"image": ("a.png", PHOTO)}
    shown = check.depth_map(odd.post("/api/depth", files=files)).astype(int)
    answer = odd.post("/api/depth?unit=metres&format=npy", files=files)
    assert answer.status_code == 200, answer.text
    assert answer.headers["X-Depth-Unit"] == "metres"
    metres = np.load(io.BytesIO(answer.content), allow_pickle=False)
    assert (metres.dtype, metres.shape) == (np.float32, shown.shape)
    assert 0 < metres.min() < metres.max() <= 20
    assert metres[shown > 200].mean() < metres[shown < 55].mean()
    assert check.json(odd.get("/api/models/metric"))["metric"] is True


def test_a_depth_model_with_another_mean(odd: Service) -> None:
    refused = odd.post("/api/depth?model=other-mean", files={"image": ("a.png", PHOTO)})
    message = check.error(refused, 503, "Model not initialized")
    assert message.startswith("Depth estimation model is not available: ")
    assert '"image_mean": [0.5, 0.5, 0.5]' in message
    failed = odd.post("/api/models/other-mean/load", json={})
    assert '"image_mean"' in check.error(failed, 500)
    # The other worker may still be trying.
    wait_for(
        lambda: odd.get("/api/models/other-mean").json()["state"] == "unavailable", service=odd
    )
    assert check.json(odd.get("/api/models/other-mean"))["is_loaded"] is False
    health = {model["name"]: model for model in check.json(odd.get("/health"))["models"]}
    assert '"image_mean"' in health["other-mean"]["reason"]


def test_an_embedding_model_that_is_prepared_in_another_way(odd: Service) -> None:
    for route, body in (
        ("/embed-image", {"files": {"image": PHOTO}}),
        ("/embed-text", {"json": {"text": "a cat"}}),
    ):
        message = check.error(odd.post(route, **body), 503, "Model not available")
        assert "preprocess_cfg in open_clip_config.json" in message
        assert '"interpolation": "nearest"' in message
    assert "preprocess_cfg" in odd.get("/ready").json()["reason"]


def test_the_others_work_beside_them(odd: Service) -> None:
    answer = odd.post("/api/depth?model=small", files={"image": ("a.png", PHOTO)})
    check.depth_map(answer)
    embedded = odd.post("/embed-image", files={"image": PHOTO}, data={"model": "ViT-B-16"})
    assert check.json(embedded)["dims"] == 512
    listed = check.json(odd.get("/api/models"))
    assert [model["key"] for model in listed["models"]] == [
        "small",
        "base",
        "large",
        "sharp",
        "metric",
    ]
    assert listed["models"][4]["name"] == "Metric", "DEPTH_MODEL is listed, too"
