# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Trains ``builtin-depth``: ``python -m training.depth``, about an hour on 2 cores.

It trains a Depth Anything V2 network, a ninth of Small's size, on rendered scenes. The first stage
uses small crops, which make a step cheap. The second stage uses the size at which the service runs
the network.

With ``--closeups``, two more stages add scenes as people photograph them (``scenes.closeup``). The
built-in weights were made without them. 660 more steps from these weights, on a share of one
core, gave a better order in photographs and a worse one in renderings (see the model's card).
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
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
from training.augment import photographed, relit
from training.checkpoint import save_depth
from training.scenes.closeups import closeup
from training.scenes.dataset import Scenes, scenes
from training.schedule import MAKERS, Average, Optimizer, ahead, device, has_fast_bf16

SEED = 20261125
SCENES, CLOSEUPS = 3600, 650
#: how many of the scenes stay in training when closeups are added, and their share of the crops
OLD_SCENES, OLD_SHARE = 800, 0.4
#: pixels to which the service resizes a photo's edge
EDGE = 252
_SHOWN = 25  # steps between two lines of output


Pairs = list[tuple[Any, Any]]
#: Cuts out count pairs of pixels and disparity, each of rows x columns.
Crops = Callable[[int, int, int, np.random.Generator], Pairs]


@dataclass(frozen=True)
class Stage:
    """Describes some training steps; each batch has crops of one of ``sizes``."""

    steps: int
    batch: int
    rate: float
    #: rows and columns, which are multiples of the patch, 14
    sizes: tuple[tuple[int, int], ...]


_SMALL = ((168, 224), (168, 224), (224, 168), (168, 168), (140, 252))
_FULL = ((252, 336), (252, 336), (336, 252), (252, 252), (252, 448))
STAGES = (Stage(3600, 12, 7e-4, _SMALL), Stage(800, 8, 3e-4, _FULL))
CLOSEUP_STAGES = (Stage(400, 8, 4e-4, _SMALL), Stage(400, 6, 4e-4, _FULL))


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
        out_indices=[2, 3, 5, 6],  # its own documented name
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


def train(model: Any, make: Crops, stages: tuple[Stage, ...], keep: Path | None = None) -> Any:
    """Train a network and return it in float32 and in evaluation mode.

    Args:
        model: from ``network``, or trained before.
        make: cuts out the pairs of pixels and disparity of a batch.
        stages: done one after the other.
        keep: a folder to which the mean weights are written on the way.
    """
    torch.manual_seed(SEED)
    place = device()
    # With this memory format a step takes half the time.
    model = model.to(place, memory_format=torch.channels_last)
    model.train()
    # The last ReLU is left out during training, because it passes no gradient where it cuts values
    # off: a network whose values are all cut off could not learn any more.
    model.head.activation2, last = torch.nn.Identity(), model.head.activation2
    for number, stage in enumerate(stages):
        optimizer, average = Optimizer(model, stage.rate, stage.steps), Average(model, 0.995)
        shown, began = 0.0, time.monotonic()
        for step, (pixels, target) in enumerate(_batches(make, stage)):
            with torch.autocast(place.type, torch.bfloat16, enabled=has_fast_bf16(place)):
                predicted = model(pixels.to(place)).predicted_depth
            shown += optimizer.step(loss(predicted.float(), target.to(place)))
            average.update()
            if step % _SHOWN == _SHOWN - 1:
                done, seconds = f"{step + 1} of {stage.steps}", time.monotonic() - began
                print(f"{stage.sizes[0]} {done}: {shown / _SHOWN:.4f}, {seconds:.0f} s", flush=True)
                shown = 0.0
                if keep is not None:
                    keep.mkdir(parents=True, exist_ok=True)
                    torch.save(average.values(), keep / f"{number}-{step + 1:04d}.pt")
        average.apply()
    model.head.activation2 = last
    return model.cpu().eval()


def _batches(make: Crops, stage: Stage) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield normalised pixels [n, 3, h, w] and disparity [n, h, w], which other threads make."""

    def batch(step: int) -> tuple[Tensor, Tensor]:
        rng = np.random.default_rng([SEED, stage.steps, step])
        rows, columns = stage.sizes[int(rng.integers(len(stage.sizes)))]
        pairs = make(stage.batch, rows, columns, rng)
        pixels = np.stack([pixels for pixels, _ in pairs]).transpose(0, 3, 1, 2)
        target = np.stack([target for _, target in pairs])
        return torch.from_numpy(np.ascontiguousarray(pixels)), torch.from_numpy(target)

    with ThreadPoolExecutor(MAKERS) as makers:
        yield from ahead(makers, batch, stage.steps, MAKERS)


def grounded_crops(data: Scenes) -> Crops:
    """Return what cuts batches out of scenes."""

    def make(count: int, rows: int, columns: int, rng: np.random.Generator) -> Pairs:
        chosen = rng.integers(len(data.pixels), size=count)
        return [_crop(data, int(index), rows, columns, rng, 0.6) for index in chosen]

    return make


def mixed_crops(data: Scenes, closeups: Scenes) -> Crops:
    """Return what cuts batches out of scenes and closeups, and changes some of them more."""

    def make(count: int, rows: int, columns: int, rng: np.random.Generator) -> Pairs:
        pairs = []
        for _ in range(count):
            some = data if rng.random() < OLD_SHARE else closeups
            index = int(rng.integers(len(some.pixels)))
            pairs.append(_crop(some, index, rows, columns, rng, 0.5, relit_share=0.7))
        return pairs

    return make


def _crop(
    data: Scenes,
    index: int,
    rows: int,
    columns: int,
    rng: np.random.Generator,
    smallest: float,
    relit_share: float = 0.0,
) -> tuple[Any, Any]:
    """Cut out a part of a scene, at least the share ``smallest`` of its edges, and resize it.

    The result is pixels [h, w, 3] float32 and disparity [h, w] float32.
    """
    pixels, disparity = data.pixels[index], data.disparity[index]
    whole_rows, whole_columns = disparity.shape
    largest = min(whole_rows / rows, whole_columns / columns)
    scale = largest * rng.uniform(smallest, 1.0)
    high, wide = int(rows * scale), int(columns * scale)
    top = int(rng.integers(whole_rows - high + 1))
    left = int(rng.integers(whole_columns - wide + 1))
    window = slice(top, top + high), slice(left, left + wide)
    picture = cv2.resize(pixels[window], (columns, rows), interpolation=cv2.INTER_CUBIC)
    near = disparity[window].astype(np.float32)
    target = cv2.resize(near, (columns, rows), interpolation=cv2.INTER_NEAREST)
    if rng.random() < 0.5:
        picture, target = picture[:, ::-1], target[:, ::-1]
    picture = np.ascontiguousarray(picture)
    if relit_share and rng.random() < relit_share:
        picture = relit(picture, rng)
    picture = photographed(picture, rng).astype(np.float32) / 255
    return (picture - MEAN) / STD, np.ascontiguousarray(target)


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description="Train builtin-depth.")
    parser.add_argument("--data", type=Path, default=Path(".training/scenes"))
    parser.add_argument("--out", type=Path, default=BUILTIN / "builtin-depth")
    parser.add_argument(
        "--closeups", action="store_true", help="go on with scenes as people photograph them"
    )
    parser.add_argument("--start-from", type=Path, help="folder with weights of the first stages")
    parser.add_argument("--keep", type=Path, help="folder for the last stages' weights on the way")
    options = parser.parse_args()
    began = time.monotonic()
    if options.start_from is None:
        torch.manual_seed(SEED)
        model = train(network(), grounded_crops(scenes(options.data, SCENES)), STAGES)
    else:
        model = DepthAnythingForDepthEstimation.from_pretrained(
            options.start_from, dtype=torch.float32
        )
    if options.closeups:
        data = scenes(options.data, OLD_SCENES)
        closeups = scenes(options.data, CLOSEUPS, closeup)
        model = train(model, mixed_crops(data, closeups), CLOSEUP_STAGES, options.keep)
    save_depth(model, EDGE, options.out)
    print(f"{(time.monotonic() - began) / 60:.0f} minutes; see {options.out}")


if __name__ == "__main__":
    main()
