# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Measures PRECISION=int8 beside fp32 in one process: speed and accuracy.

``python -m benchmarks.int8 --cache CACHE --models ViT-B-16,ViT-L-14,small`` prints a line for each
model and number of images in a batch. The two take turns; a ratio is the median over pairs. Answers
are compared on the photographs that tests use. ``ONEDNN_MAX_CPU_ISA`` limits what the CPU may use.
"""

from __future__ import annotations

import argparse
import io
import statistics
import time
from pathlib import Path

import numpy as np
from PIL import Image

from app.engines.base import FloatArray
from app.pictures.decode import decode
from benchmarks.accuracy import differences
from benchmarks.models import DepthModel, ImageModel, Model, load
from training.photographs import motorcycle, photographs

_ROUNDS = 5
_BATCH = 8
_LONGEST = 700  # pixels of a photograph's longer side


def pictures() -> list[Image.Image]:
    """The photographs, about as large as a depth network reads them."""
    found = [each.read() for kept_back in (False, True) for each in photographs(kept_back)]
    for picture in found:
        picture.thumbnail((_LONGEST, _LONGEST))
    return [*found, motorcycle()[0]]


def prepared(model: Model, picture: Image.Image) -> FloatArray:
    """The network's input for a picture."""
    assert isinstance(model, DepthModel | ImageModel)
    file = io.BytesIO()
    picture.save(file, "PNG")
    return model.prepare(decode(file, 10**9))


def measure(cache: Path, key: str) -> None:
    """Print the figures of a model."""
    exact, rounded = (load(cache, key, "openvino", name) for name in ("fp32", "int8"))
    if rounded.network.precision != "int8":
        print(f"{key}: int8 cannot be used here")
        return
    shown = pictures()
    inputs = [prepared(exact, picture) for picture in shown]
    answers = [
        [_answer(model, *pair) for pair in zip(inputs, shown, strict=True)]
        for model in (exact, rounded)
    ]
    off = {name: f"{value:.6g}" for name, value in differences(answers[1], answers[0]).items()}
    batches = [1] if isinstance(exact, DepthModel) else [1, _BATCH]
    for images in batches:
        batch = np.stack(inputs[:1] if images == 1 else inputs[:images])
        pairs = [(_ms(exact, batch), _ms(rounded, batch)) for _ in range(_ROUNDS + 1)][1:]
        ratios = [one / other for one, other in pairs]
        ours = statistics.median(pair[1] for pair in pairs) / images
        theirs = statistics.median(pair[0] for pair in pairs) / images
        print(
            f"| {key} | {images} | {theirs:.0f} | {ours:.0f} | {statistics.median(ratios):.2f} "
            f"({min(ratios):.2f} to {max(ratios):.2f}) | {off} |",
            flush=True,
        )


def _answer(model: Model, inputs: FloatArray, picture: Image.Image) -> FloatArray:
    output = model.infer(inputs[None])[0]
    if isinstance(model, DepthModel):
        levels: FloatArray = model.finish(output, *picture.size)  # type: ignore[assignment]
        return levels
    assert isinstance(model, ImageModel)
    return model.finish(output, normalize=True)


def _ms(model: Model, batch: FloatArray) -> float:
    began = time.perf_counter()
    model.infer(batch)
    return (time.perf_counter() - began) * 1000


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description="int8 beside fp32.")
    parser.add_argument("--cache", type=Path, required=True, help="made by benchmarks.checkpoints")
    parser.add_argument("--models", default="ViT-B-16,ViT-L-14,small", help="comma list")
    options = parser.parse_args()
    print("| model | images | fp32, ms an image | int8, ms an image | times faster | apart |")
    print("|---|---|---|---|---|---|")
    for key in options.models.split(","):
        measure(options.cache, key)


if __name__ == "__main__":
    main()
