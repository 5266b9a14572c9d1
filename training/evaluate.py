# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Measures the built-in models on data that they were not trained on, and writes their cards.

``python -m training.evaluate`` takes a minute or two. It prepares photos and infers as the service
does, in float32.
"""

from __future__ import annotations

import io
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from open_clip.model import CLIP
from PIL import Image
from safetensors.torch import load_file
from tqdm import tqdm

from app.hub.store import BUILTIN
from app.pictures.decode import decode
from benchmarks import models
from benchmarks.models import DepthModel
from training import clip, scenes
from training.cards import write_card
from training.drawings import imagine
from training.metrics import DepthQuality, depth_quality, mean, recall_at_1
from training.scenes.dataset import HELD_OUT

SCENES, WIDTH, HEIGHT = 200, 640, 480
IDEAS = 500
_HELD_OUT_DRAWINGS = 1_000_000


def depth_figures(count: int) -> DepthQuality:
    """Return the mean quality over the first ``count`` held-out scenes."""
    model = models.load(Path(), "builtin-depth")
    assert isinstance(model, DepthModel)
    qualities = []
    for seed in tqdm(range(HELD_OUT, HELD_OUT + count), desc="scenes"):
        scene = scenes.render(scenes.imagine(seed), WIDTH, HEIGHT)
        qualities.append(depth_quality(disparity(model, scene), scene.disparity))
    return mean(qualities)


def disparity(model: DepthModel, scene: scenes.Rendering) -> Any:
    """Return the network's output for a rendering, resized to the rendering's size.

    The result is [h, w] float32.
    """
    file = io.BytesIO()
    Image.fromarray(scene.pixels).save(file, "jpeg", quality=92)
    inputs = model.prepare(decode(file, 10**9))
    outputs = torch.from_numpy(model.infer(inputs[None]))[None]
    size = scene.disparity.shape
    return torch.nn.functional.interpolate(outputs, size, mode="bilinear")[0, 0].numpy()


def clip_figures(count: int) -> dict[str, float]:
    """Measure recall at 1 for ``count`` new ideas, each with a caption and two drawings.

    It is measured from captions to drawings, from drawings to captions, and between the drawings.
    """
    network = CLIP(**clip.CONFIG["model_cfg"]).eval()
    file = BUILTIN / "builtin-clip" / "open_clip_model.safetensors"
    network.load_state_dict({name: value.float() for name, value in load_file(file).items()})
    rng = np.random.default_rng([clip.SEED, _HELD_OUT_DRAWINGS])
    ideas = list(dict.fromkeys(imagine(rng) for _ in range(2 * count)))[:count]
    drawings = [np.stack([idea.draw(clip.EDGE, rng) for idea in ideas]) for _ in range(2)]
    captions = [idea.caption(rng) for idea in ideas]
    with torch.inference_mode():
        texts = network.encode_text(clip.tokens(captions), normalize=True).numpy()
        first, second = (
            network.encode_image(clip.normalised(each), normalize=True).numpy() for each in drawings
        )
    return {
        "text_to_image": recall_at_1(texts, first),
        "image_to_text": recall_at_1(first, texts),
        "image_to_image": recall_at_1(first, second),
    }


def main() -> None:
    """Entry point."""
    figures: dict[str, dict[str, float]] = {
        "builtin-depth": asdict(depth_figures(SCENES)),
        "builtin-clip": clip_figures(IDEAS),
    }
    for key, measured in figures.items():
        print(key, json.dumps(measured))
        write_card(key, measured)


if __name__ == "__main__":
    main()
