# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Trains ``builtin-clip``: ``python -m training.clip``, about an hour on 2 cores.

It trains both towers of an open_clip network on drawings and their captions. Most of the resulting
file is the table of the standard tokenizer's 49408 tokens; users may search for any of these words.
"""

from __future__ import annotations

import argparse
import multiprocessing
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from open_clip.model import CLIP
from open_clip.tokenizer import SimpleTokenizer

from app.hub.store import BUILTIN
from app.models.open_clip import MEAN, STD
from training import losses
from training.augment import photographed
from training.checkpoint import save_clip
from training.drawings import imagine
from training.schedule import MAKERS, Average, Optimizer, ahead, device

SEED = 20261125
EDGE = 128
STEPS, BATCH, RATE = 1000, 128, 1.2e-3
_HOTTEST = 100.0  # the upper bound on the inverse temperature, as in CLIP

CONFIG: dict[str, Any] = {
    "model_cfg": {
        "embed_dim": 128,
        "vision_cfg": {
            "image_size": EDGE,
            "layers": 6,
            "width": 192,
            "head_width": 64,
            "mlp_ratio": 3.0,
            "patch_size": 16,
        },
        "text_cfg": {
            "context_length": 32,
            "vocab_size": 49408,
            "width": 64,
            "heads": 4,
            "layers": 4,
        },
    },
    "preprocess_cfg": {"mean": MEAN.tolist(), "std": STD.tolist()},
}


def network() -> Any:
    """Make the network, with random weights."""
    return CLIP(**CONFIG["model_cfg"])


def tokens(captions: list[str]) -> torch.Tensor:
    """Return the captions' tokens, [n, 32] int64."""
    return _tokenizer()(captions)


@cache
def _tokenizer() -> Any:
    return SimpleTokenizer(context_length=32)


def train(steps: int) -> Any:
    """Train a network and return it in float32 and in evaluation mode."""
    torch.manual_seed(SEED)
    place = device()
    model = network().to(place)
    model.train()
    optimizer, average = Optimizer(model, RATE, steps), Average(model, 0.99)
    shown, began = 0.0, time.monotonic()
    for step, (pixels, captions) in enumerate(_batches(steps)):
        with torch.autocast(place.type, torch.bfloat16):
            images = model.encode_image(normalised(pixels).to(place), normalize=True)
            texts = model.encode_text(tokens(captions).to(place), normalize=True)
        loss = losses.contrastive(images.float(), texts.float(), model.logit_scale.exp())
        shown += optimizer.step(loss)
        with torch.no_grad():
            model.logit_scale.clamp_(max=float(np.log(_HOTTEST)))
        average.update()
        if step % 50 == 49:
            seconds = time.monotonic() - began
            print(f"{step + 1} of {steps}: {shown / 50:.4f}, {seconds:.0f} s", flush=True)
            shown = 0.0
    average.apply()
    return model.cpu().eval()


def normalised(pixels: NDArray[np.uint8]) -> torch.Tensor:
    """Normalise pixels as the service does: [n, 128, 128, 3] to [n, 3, 128, 128] float32."""
    scaled = (pixels.astype(np.float32) / 255 - MEAN) / STD
    return torch.from_numpy(np.ascontiguousarray(scaled.transpose(0, 3, 1, 2)))


def _batches(steps: int) -> Iterator[tuple[NDArray[np.uint8], list[str]]]:
    """Yield drawings [n, 128, 128, 3] uint8 and their captions, which other processes make."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(MAKERS, mp_context=context) as makers:
        yield from ahead(makers, _batch, steps, MAKERS + 3)


def _batch(step: int) -> tuple[NDArray[np.uint8], list[str]]:
    cv2.setNumThreads(1)
    rng = np.random.default_rng([SEED, step])
    # An idea occurs only once in a batch, because the loss treats all other rows as mismatches.
    ideas = list(dict.fromkeys(imagine(rng) for _ in range(2 * BATCH)))[:BATCH]
    drawings = [idea.draw(EDGE, rng) for idea in ideas]
    pixels = [photographed(each, rng) if rng.random() < 0.3 else each for each in drawings]
    return np.stack(pixels), [idea.caption(rng) for idea in ideas]


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description="Train builtin-clip.")
    parser.add_argument("--out", type=Path, default=BUILTIN / "builtin-clip")
    options = parser.parse_args()
    began = time.monotonic()
    model = train(STEPS)
    save_clip(model, CONFIG, options.out)
    print(f"{(time.monotonic() - began) / 60:.0f} minutes; see {options.out}")


if __name__ == "__main__":
    main()
