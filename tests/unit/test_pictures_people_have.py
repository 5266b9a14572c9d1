# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests files that people have, as public bug reports describe them.

For each file, `tests/pictures_people_have/manifest.json` says whether it is refused or answered,
and with which pixels. Pictures are compared by their vectors, which the built-in CLIP computes.
"""

from __future__ import annotations

import io
import json
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from app.errors import BadRequest, TooLarge
from app.pictures.decode import Picture, decode
from benchmarks import models
from benchmarks.models import ImageModel

FOLDER = Path(__file__).parents[1] / "pictures_people_have"
MANIFEST: list[dict[str, Any]] = json.loads((FOLDER / "manifest.json").read_text())
MAX_PIXELS = 120_000_000
FULL_EDGE = 200  # pixels; thumbnails in these files are smaller, photos larger


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> ImageModel:
    model = models.load(tmp_path_factory.mktemp("hub"), "builtin-clip")
    assert isinstance(model, ImageModel)
    return model


def decoded(name: str) -> Picture:
    return decode(io.BytesIO((FOLDER / name).read_bytes()), MAX_PIXELS)


@cache
def vector(clip: ImageModel, name: str) -> NDArray[np.float32]:
    found: NDArray[np.float32] = clip.infer(clip.prepare(decoded(name))[None])[0]
    return found / np.float32(np.linalg.norm(found))


def entries(want: str) -> list[Any]:
    return [pytest.param(each, id=each["file"]) for each in MANIFEST if each["want"] == want]


@pytest.mark.parametrize("entry", entries("answered"))
def test_it_is_answered_with_the_right_pixels(entry: dict[str, Any], clip: ImageModel) -> None:
    if "expected" not in entry:
        assert decoded(entry["file"]).size
        return
    assert decoded(entry["file"]).size == decoded(entry["expected"]).size
    cosine = float(vector(clip, entry["file"]) @ vector(clip, entry["expected"]))
    assert cosine >= entry["min_cosine"]


@pytest.mark.parametrize("entry", entries("refused"))
def test_it_is_refused_with_a_reason(entry: dict[str, Any]) -> None:
    with pytest.raises((BadRequest, TooLarge)) as caught:
        decoded(entry["file"])
    assert "is damaged and cannot be decoded" not in caught.value.message


@pytest.mark.parametrize("entry", entries("full-size-or-refused"))
def test_it_is_never_answered_from_the_thumbnail(entry: dict[str, Any]) -> None:
    with suppress(BadRequest, TooLarge):
        assert max(decoded(entry["file"]).size) > FULL_EDGE
