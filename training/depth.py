# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Trains ``builtin-depth``: ``python -m training.depth``, about an hour on 2 cores.

It trains a Depth Anything V2 network, a ninth of Small's size, on rendered scenes. The first stage
uses small crops, which make a step cheap. The second stage uses the size at which the service runs
the network.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor
from transformers import DepthAnythingConfig, DepthAnythingForDepthEstimation, Dinov2Config

from app.hub.store import BUILTIN
from app.models.depth_anything import MEAN, STD
from training import losses
from training.augment import photographed
from training.checkpoint import save_depth
from training.scenes.dataset import Scenes, scenes
from training.schedule import MAKERS, Average, Optimizer, ahead, device

SEED = 20261125
SCENES = 3600
#: pixels to which the service resizes a photo's edge
EDGE = 252


@dataclass(frozen=True)
class Stage:
    """Describes some training steps; each batch has crops of one of ``sizes``."""

    steps: int
    batch: int
    rate: float
    #: rows and columns, which are multiples of the patch, 14
    sizes: tuple[tuple[int, int], ...]


STAGES = (
    Stage(3600, 12, 7e-4, ((168, 224), (168, 224), (224, 168), (168, 168), (140, 252))),
    Stage(800, 8, 3e-4, ((252, 336), (252, 336), (336, 252), (252, 252), (252, 448))),
)


def network() -> Any:
    """Make the network, with random weights."""
    backbone = Dinov2Config(
        hidden_size=192,
        num_hidden_layers=6,
        num_attention_heads=3,
        mlp_ratio=3,
        image_size=EDGE,
        patch_size=14,
        apply_layernorm=True,
        reshape_hidden_states=False,
        layerscale_value=1.0,
        out_indices=[2, 3, 5, 6],  # type: ignore[call-arg] # its own documented name
    )
    config = DepthAnythingConfig(
        backbone_config=backbone,
        reassemble_hidden_size=192,
        neck_hidden_sizes=[24, 48, 96, 144],
        fusion_hidden_size=32,
        head_hidden_size=16,
    )
    model: Any = DepthAnythingForDepthEstimation(config)
    # transformers initialises all weights with a deviation of 0.02, which suits wide networks and
    # fine-tuning. In this network, positions would then hardly differ, and hardly any signal would
    # reach the head.
    torch.nn.init.normal_(model.backbone.embeddings.position_embeddings, std=0.3)
    for module in model.backbone.encoder.modules():
        if isinstance(module, torch.nn.Linear):
            torch.nn.init.xavier_uniform_(module.weight)
    for part in (model.neck, model.head):
        for name, module in part.named_modules():
            if isinstance(module, torch.nn.Conv2d | torch.nn.ConvTranspose2d):
                torch.nn.init.kaiming_normal_(module.weight)
                if name.endswith("convolution2"):  # the last layer of a residual branch
                    module.weight.data *= 0.1
    torch.nn.init.normal_(model.head.conv3.weight, std=0.01)
    torch.nn.init.constant_(model.head.conv3.bias, 0.3)  # about the mean of the targets
    return model


def loss(predicted: Tensor, target: Tensor) -> Tensor:
    """Return the loss of predicted disparities.

    Both arguments are [n, h, w], and the target is in 1/metres.
    """
    # The target is scaled to about 0..1, and the nearest 2 % of pixels are cut off. Otherwise a
    # thing right in front of the lens would have such a large disparity that all else would hardly
    # count.
    nearest = torch.quantile(target.flatten(1), 0.98, dim=1)[:, None, None]
    wanted = (target / nearest.clamp_min(1e-3)).clamp_max(1)
    shape = losses.scale_and_shift_invariant(predicted, wanted)
    edges = losses.gradients(predicted, wanted)
    # The two losses above hardly notice errors in far parts, where disparities are small.
    ratios, ranking = losses.ratios(predicted, wanted), losses.ranking(predicted, wanted)
    return 0.5 * shape + 0.5 * edges + ratios + ranking


def train(data: Scenes, stages: tuple[Stage, ...]) -> Any:
    """Train a network and return it in float32 and in evaluation mode."""
    torch.manual_seed(SEED)
    place = device()
    # With this memory format a step takes half the time.
    model = network().to(place, memory_format=torch.channels_last)
    model.train()
    # The last ReLU is left out during training, because it passes no gradient where it cuts values
    # off: a network whose values are all cut off could not learn any more.
    model.head.activation2, last = torch.nn.Identity(), model.head.activation2
    for stage in stages:
        optimizer, average = Optimizer(model, stage.rate, stage.steps), Average(model, 0.995)
        shown, began = 0.0, time.monotonic()
        for step, (pixels, target) in enumerate(_batches(data, stage)):
            with torch.autocast(place.type, torch.bfloat16):
                predicted = model(pixels.to(place)).predicted_depth
            shown += optimizer.step(loss(predicted.float(), target.to(place)))
            average.update()
            if step % 50 == 49:
                done, seconds = f"{step + 1} of {stage.steps}", time.monotonic() - began
                print(f"{stage.sizes[0]} {done}: {shown / 50:.4f}, {seconds:.0f} s", flush=True)
                shown = 0.0
        average.apply()
    model.head.activation2 = last
    return model.cpu().eval()


def _batches(data: Scenes, stage: Stage) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield normalised pixels [n, 3, h, w] and disparity [n, h, w], which other threads make."""

    def make(step: int) -> tuple[Tensor, Tensor]:
        rng = np.random.default_rng([SEED, stage.steps, step])
        rows, columns = stage.sizes[int(rng.integers(len(stage.sizes)))]
        chosen = rng.integers(len(data.pixels), size=stage.batch)
        pairs = [_crop(data, int(index), rows, columns, rng) for index in chosen]
        pixels = np.stack([pixels for pixels, _ in pairs]).transpose(0, 3, 1, 2)
        target = np.stack([target for _, target in pairs])
        return torch.from_numpy(pixels), torch.from_numpy(target)

    with ThreadPoolExecutor(MAKERS) as makers:
        yield from ahead(makers, make, stage.steps, MAKERS)


def _crop(
    data: Scenes, index: int, rows: int, columns: int, rng: np.random.Generator
) -> tuple[Any, Any]:
    """Cut out a part of a scene and resize it.

    The result is pixels [h, w, 3] float32 and disparity [h, w] float32.
    """
    pixels, disparity = data.pixels[index], data.disparity[index]
    whole_rows, whole_columns = disparity.shape
    largest = min(whole_rows / rows, whole_columns / columns)
    scale = largest * rng.uniform(0.6, 1.0)
    high, wide = int(rows * scale), int(columns * scale)
    top = int(rng.integers(whole_rows - high + 1))
    left = int(rng.integers(whole_columns - wide + 1))
    window = slice(top, top + high), slice(left, left + wide)
    picture = cv2.resize(pixels[window], (columns, rows), interpolation=cv2.INTER_CUBIC)
    near = disparity[window].astype(np.float32)
    target = cv2.resize(near, (columns, rows), interpolation=cv2.INTER_NEAREST)
    if rng.random() < 0.5:
        picture, target = picture[:, ::-1], target[:, ::-1]
    picture = photographed(np.ascontiguousarray(picture), rng).astype(np.float32) / 255
    return (picture - MEAN) / STD, np.ascontiguousarray(target)


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description="Train builtin-depth.")
    parser.add_argument("--data", type=Path, default=Path(".training/scenes"))
    parser.add_argument("--out", type=Path, default=BUILTIN / "builtin-depth")
    options = parser.parse_args()
    began = time.monotonic()
    model = train(scenes(options.data, SCENES), STAGES)
    save_depth(model, EDGE, options.out)
    print(f"{(time.monotonic() - began) / 60:.0f} minutes; see {options.out}")


if __name__ == "__main__":
    main()
