# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Measures the built-in models on what they were not trained on, and writes their cards.

``python -m training.evaluate`` takes some minutes. It prepares photos and infers as the service
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
from training.metrics import DepthQuality, depth_quality, mean, ordinal, recall_at_1
from training.photographs import motorcycle, photographs
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
        found = disparity(model, Image.fromarray(scene.pixels))
        qualities.append(depth_quality(found, scene.disparity))
    return mean(qualities)


def photograph_figures() -> dict[str, float]:
    """Return shares of pairs in the right order in real photographs, and those of the rows alone.

    ``motorcycle`` is measured, with pairs 10 % apart; in the others, pairs were marked by hand.
    """
    model = models.load(Path(), "builtin-depth")
    assert isinstance(model, DepthModel)
    picture, measured = motorcycle()
    lower = np.broadcast_to(np.arange(measured.shape[0])[:, None], measured.shape)
    figures = {
        "motorcycle": ordinal(disparity(model, picture), measured),
        "lower_motorcycle": ordinal(lower, measured),
    }
    for split, kept_back in (("development", False), ("kept_back", True)):
        chosen = photographs(kept_back)
        found = [each.order(disparity(model, each.read())) for each in chosen]
        figures[split] = float(np.mean(np.concatenate(found)))
        lower_order = np.concatenate([each.lower_order() for each in chosen])
        figures[f"lower_{split}"] = float(np.mean(lower_order))
        for each, order in zip(chosen, found, strict=True):
            figures[each.name] = float(np.mean(order))
    return figures


def disparity(model: DepthModel, picture: Image.Image) -> Any:
    """Return the network's output for a picture, resized to the picture's size.

    The result is [h, w] float32.
    """
    file = io.BytesIO()
    picture.save(file, "jpeg", quality=92)
    inputs = model.prepare(decode(file, 10**9))
    outputs = torch.from_numpy(model.infer(inputs[None]))[None]
    size = picture.height, picture.width
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
        "builtin-depth": asdict(depth_figures(SCENES)) | photograph_figures(),
        "builtin-clip": clip_figures(IDEAS),
    }
    for key, measured in figures.items():
        print(key, json.dumps(measured))
        write_card(key, measured)


if __name__ == "__main__":
    main()
