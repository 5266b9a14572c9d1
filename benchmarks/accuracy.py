# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Measures how fast each engine and precision is, and how far its answers are from torch in fp32.

``python -m benchmarks.accuracy --cache CACHE --models small,ViT-L-14 --inputs "1920x1080"`` prints
one line per model, which is a JSON list of rows. The answers are compared with those that torch in
fp32 gives for the fully decoded photos. For vectors, a row states the lowest cosine over all
photos. For maps, it states the highest mean and the highest 99.9th percentile of the absolute
difference, in levels of 255.
"""

from __future__ import annotations

import argparse
import io
import json
import statistics
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.engines.base import FloatArray
from app.pictures.decode import decode, in_full
from benchmarks import models
from benchmarks.inputs import DISTINCT, SIZES, Photos
from benchmarks.machine import has_bf16
from benchmarks.models import DepthModel, ImageModel, Model
from benchmarks.results import Row
from config.values import EngineSetting, PrecisionSetting

_BATCH = 8
_REPEATS = 3
_LONG_SECONDS = 2.0  # repeats end once they have taken this long in total
_DEFAULT: tuple[EngineSetting, PrecisionSetting] = ("auto", "auto")
_EXACT: tuple[EngineSetting, PrecisionSetting] = ("torch", "fp32")


def variants() -> list[tuple[EngineSetting, PrecisionSetting]]:
    """Return pairs of engine and precision: the default first, then all that this CPU supports."""
    precisions: tuple[PrecisionSetting, ...] = ("fp32", "bf16") if has_bf16() else ("fp32",)
    engines: tuple[EngineSetting, ...] = ("torch", "openvino")
    return [_DEFAULT, *((engine, each) for engine in engines for each in precisions)]


def measure(cache: Path, key: str, inputs: list[str]) -> Iterator[Row]:
    """Yield a row for each variant, and one for the default with JPEGs decoded at reduced size."""
    exact = models.load(cache, key, *_EXACT)
    files = _files(exact, inputs)
    expected = [_answer(exact, file, full=True) for file in files]
    for variant in variants():
        model = exact if variant == _EXACT else models.load(cache, key, *variant)
        times = _times(model, files[0])
        for full in (False, True) if variant == _DEFAULT else (True,):
            row: Row = {
                "model": key,
                "engine": model.network.engine,
                "precision": model.network.precision,
                "decode": "full" if full else "reduced",
                "default": "yes" if variant == _DEFAULT and not full else "",
                "photo": inputs[0],
            }
            if model is not exact:
                answers = [_answer(model, file, full=full) for file in files]
                row |= differences(answers, expected)
            yield row | times


def _files(model: Model, inputs: list[str]) -> list[bytes]:
    """Return several photos of each size for an embedding model, and only one for a depth model.

    Embedding models are quick enough for several.
    """
    count = DISTINCT if isinstance(model, ImageModel) else 1
    return [
        photos.next() for photos in (Photos(SIZES[name]) for name in inputs) for _ in range(count)
    ]


def _inputs(model: Model, file: bytes, full: bool) -> tuple[FloatArray, tuple[int, int]]:
    """Prepare a photo; return the network's input [3, h, w] and the photo's width and height."""
    assert isinstance(model, DepthModel | ImageModel)
    decode_size: Any = (
        model.decode_size if isinstance(model, DepthModel) else partial(model.decode_size, None)
    )
    picture = decode(io.BytesIO(file), 10**9, in_full if full else decode_size)
    return model.prepare(picture), picture.size


def _answer(model: Model, file: bytes, *, full: bool) -> NDArray[Any]:
    """Return the answer to a photo: a map [height, width] uint8, or a vector [dims] of length 1."""
    inputs, size = _inputs(model, file, full)
    output = model.infer(inputs[None])[0]
    if isinstance(model, DepthModel):
        return model.finish(output, *size)
    assert isinstance(model, ImageModel)
    return model.finish(output, normalize=True)


def differences(answers: list[NDArray[Any]], expected: list[NDArray[Any]]) -> Row:
    """Compare answers with the expected ones.

    For maps, return the highest mean and 99.9th percentile of the difference; for vectors, return
    the lowest cosine.
    """
    pairs = list(zip(answers, expected, strict=True))
    if answers[0].ndim == 1:
        return {"cosine": min(float(one @ other) for one, other in pairs)}
    off = [np.abs(one.astype(np.int16) - other) for one, other in pairs]
    return {
        "mean": max(float(each.mean()) for each in off),
        "99.9 %": max(float(np.percentile(each, 99.9)) for each in off),
    }


def _times(model: Model, file: bytes) -> Row:
    """Return the milliseconds per image: alone and, if the model takes batches, within a batch."""
    inputs, _ = _inputs(model, file, full=True)
    times: Row = {"alone, ms": _median_ms(model, inputs[None])}
    if isinstance(model, ImageModel):
        times["in a batch of 8, ms"] = _median_ms(model, np.stack([inputs] * _BATCH)) / _BATCH
    return times


def _median_ms(model: Model, batch: FloatArray) -> float:
    took: list[float] = []
    while len(took) < _REPEATS and sum(took) < 1000 * _LONG_SECONDS:
        began = time.perf_counter()
        model.infer(batch)
        took.append(1000 * (time.perf_counter() - began))
    return statistics.median(took)


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description="Speed and accuracy of engines and precisions.")
    parser.add_argument("--cache", type=Path, required=True, help="made by benchmarks.checkpoints")
    parser.add_argument("--models", required=True, help="comma list")
    parser.add_argument("--inputs", required=True, help="comma list of sizes; times of the first")
    options = parser.parse_args()
    for key in options.models.split(","):
        rows = list(measure(options.cache, key, options.inputs.split(",")))
        print(json.dumps(rows), flush=True)


if __name__ == "__main__":
    main()
