# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests that vectors of drawings of one idea are close, and those of different ideas are not."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from app.pictures.decode import decode
from benchmarks import models
from benchmarks.models import ImageModel
from benchmarks.service import Service
from tests.pictures import encoded
from training.drawings import Idea, imagine

_EDGE = 160
_SEED = 4711


def ideas(count: int) -> list[Idea]:
    rng = np.random.default_rng(_SEED)
    return list(dict.fromkeys(imagine(rng) for _ in range(2 * count)))[:count]


def drawings(count: int, seed: int) -> list[bytes]:
    rng = np.random.default_rng([_SEED, seed])
    return [encoded(Image.fromarray(idea.draw(_EDGE, rng))) for idea in ideas(count)]


def vectors(service: Service, files: list[bytes]) -> NDArray[np.float64]:
    items = [{"image_base64": base64.b64encode(file).decode()} for file in files]
    response = service.post("/embed-batch", json={"items": items})
    assert response.status_code == 200, response.text
    assert response.headers["X-Model-Weights"] == "built-in"
    return np.array([result["embedding"] for result in response.json()["results"]])


def test_two_drawings_of_one_idea_are_closer_than_different_ideas(demo: Service) -> None:
    first, second = (vectors(demo, drawings(32, seed)) for seed in (1, 2))
    cosines = first @ second.T
    same = np.diag(cosines)
    different = cosines[~np.eye(len(cosines), dtype=bool)]
    assert same.mean() > different.mean() + 0.3
    assert np.mean(cosines.argmax(1) == np.arange(len(cosines))) >= 0.9


def test_one_by_one_and_in_a_batch_are_the_same(demo: Service) -> None:
    files = drawings(4, 3)
    together = vectors(demo, files)
    for file, expected in zip(files, together, strict=True):
        response = demo.post("/embed-image", files={"image": ("a.png", file)})
        assert response.status_code == 200, response.text
        assert np.dot(response.json()["embedding"], expected) > 0.9999


def test_text_finds_its_image(demo: Service) -> None:
    """Captions find their drawings among 32 drawings of different ideas, over HTTP."""
    rng = np.random.default_rng([_SEED, 5])
    captions = [idea.caption(rng) for idea in ideas(32)]
    response = demo.post("/embed-text", json={"texts": captions})
    assert response.status_code == 200, response.text
    assert response.headers["X-Model-Weights"] == "built-in"
    texts = np.array([result["embedding"] for result in response.json()["results"]])
    cosines = texts @ vectors(demo, drawings(32, 1)).T
    assert np.mean(cosines.argmax(1) == np.arange(32)) >= 0.8


def test_engines_and_precisions_agree_on_trained_weights(conversions: Path) -> None:
    exact = models.load(conversions, "builtin-clip", "torch", "fp32")
    assert isinstance(exact, ImageModel)
    inputs = np.stack([exact.prepare(decode(io.BytesIO(file), 10**9)) for file in drawings(16, 4)])
    expected = _unit(exact.infer(inputs))
    for engine, precision, bound in (
        ("openvino", "fp32", 0.99999),
        ("openvino", "auto", 0.9999),
        ("openvino", "int8", 0.999),  # where the CPU cannot, this is "auto" again
        ("torch", "auto", 0.9999),
        ("torch", "bf16", 0.9999),  # tested even where "auto" would not choose it
    ):
        model = models.load(conversions, "builtin-clip", engine, precision)  # type: ignore[arg-type]
        cosines = (_unit(model.infer(inputs)) * expected).sum(1)
        assert cosines.min() >= bound, (engine, precision, cosines.min())


def _unit(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    lengths: NDArray[np.float32] = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / lengths
