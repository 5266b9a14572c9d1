# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Makes Depth Anything 3 checkpoints with random weights, only of the tensors for depth and sky."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from app.models.depth_anything_3_network import Plan, build
from benchmarks.checkpoints.depth import MEAN, STD
from benchmarks.checkpoints.hub_cache import Repository
from benchmarks.checkpoints.numbers import SEED, Draw, normalise, pictures


@dataclass(frozen=True)
class Shape:
    """The values in which the variants differ."""

    repository: str
    model_name: str
    #: published name of the transformer
    net: str
    #: number of features of a token
    width: int
    #: number of blocks
    layers: int
    #: indices of the blocks whose tokens go to the head
    stages: tuple[int, ...]
    #: index of the first block that is made for any number of views, -1 in models for one view
    start: int
    neck: tuple[int, ...]
    fusion: int

    @property
    def plan(self) -> Plan:
        """These values as the network's code takes them."""
        views = self.start >= 0
        return Plan(self.stages, self.start, self.start, self.start, views, views, not views)


_HUB = "depth-anything/{}"
_VITL = (256, 512, 1024, 1024)
_ANY_VIEW, _LATE, _ONE_VIEW = (5, 7, 9, 11), (11, 15, 19, 23), (4, 11, 17, 23)
SHAPES = {
    "da3-small": Shape(
        _HUB.format("DA3-SMALL"), "da3-small", "vits", 384, 12, _ANY_VIEW, 4, (48, 96, 192, 384), 64
    ),
    "da3-base": Shape(
        _HUB.format("DA3-BASE"), "da3-base", "vitb", 768, 12, _ANY_VIEW, 4, (96, 192, 384, 768), 128
    ),
    "da3-mono-large": Shape(
        _HUB.format("DA3MONO-LARGE"), "da3mono-large", "vitl", 1024, 24, _ONE_VIEW, -1, _VITL, 256
    ),
    "da3-metric-large": Shape(
        _HUB.format("DA3METRIC-LARGE"),
        "da3metric-large",
        "vitl",
        1024,
        24,
        _ONE_VIEW,
        -1,
        _VITL,
        256,
    ),
    "da3-large": Shape(
        _HUB.format("DA3-LARGE-1.1"), "da3-large", "vitl", 1024, 24, _LATE, 8, _VITL, 256
    ),
}


def tiny(shape: Shape) -> Shape:
    """Shrink a shape so that it answers in milliseconds; the architecture stays the same."""
    return replace(
        shape,
        width=64,
        layers=4,
        stages=(0, 1, 2, 3),
        start=min(1, shape.start),
        neck=(8, 12, 16, 24),
        fusion=16,
    )


def make(key: str, small_scale: bool) -> Repository:
    """Make the repository of one variant."""
    shape = tiny(SHAPES[key]) if small_scale else SHAPES[key]
    state = weights(shape, SEED + 21 + list(SHAPES).index(key))
    files = {"config.json": config_json(shape)}
    named = {f"model.{name}": value for name, value in state.items()}
    return Repository(shape.repository, files, "model.safetensors", named)


@torch.no_grad()
def weights(shape: Shape, seed: int) -> dict[str, Tensor]:
    """Random tensors by name without ``model.``; they give depth from about 1 to about 20."""
    draw = Draw(seed)
    residual = 0.35 * math.sqrt(12 / shape.layers)
    state = {
        name: _values(draw, name, torch.Size(size), residual)
        for name, size in tensor_shapes(shape).items()
    }
    for output, low, high in (("output_conv2", 0.0, 3.0), ("sky_output_conv2", -2.0, 0.5)):
        if f"head.scratch.{output}.2.weight" in state:
            _scale_last_layer(state, shape, f"head.scratch.{output}", low, high)
    return state


def tensor_shapes(shape: Shape) -> dict[str, tuple[int, ...]]:
    """The shapes of the published tensors by name without ``model.``."""
    width, fusion = shape.width, shape.fusion
    vit, head = "backbone.pretrained", "head"
    found: dict[str, tuple[int, ...]] = {f"{vit}.cls_token": (1, 1, width)}

    def layer(name: str, *size: int, bias: int | None = None) -> None:
        found[f"{name}.weight"] = size
        if bias != 0:
            found[f"{name}.bias"] = (bias or size[0],)

    if shape.start >= 0:
        found[f"{vit}.camera_token"] = (1, 2, width)
    found[f"{vit}.pos_embed"] = (1, 1 + 37 * 37, width)
    layer(f"{vit}.patch_embed.proj", width, 3, 14, 14)
    for i in range(shape.layers):
        block = f"{vit}.blocks.{i}"
        layer(f"{block}.norm1", width)
        layer(f"{block}.attn.qkv", 3 * width, width)
        if 0 <= shape.start <= i:
            layer(f"{block}.attn.q_norm", 64)
            layer(f"{block}.attn.k_norm", 64)
        layer(f"{block}.attn.proj", width, width)
        found[f"{block}.ls1.gamma"] = (width,)
        layer(f"{block}.norm2", width)
        layer(f"{block}.mlp.fc1", 4 * width, width)
        layer(f"{block}.mlp.fc2", width, 4 * width)
        found[f"{block}.ls2.gamma"] = (width,)
    layer(f"{vit}.norm", width)
    into = 2 * width if shape.start >= 0 else width
    if shape.start >= 0:
        layer(f"{head}.norm", into)
    for i, out in enumerate(shape.neck):
        layer(f"{head}.projects.{i}", out, into, 1, 1)
    for i, edge in ((0, 4), (1, 2), (3, 3)):
        layer(f"{head}.resize_layers.{i}", shape.neck[i], shape.neck[i], edge, edge)
    scratch = f"{head}.scratch"
    for i, out in enumerate(shape.neck, 1):
        layer(f"{scratch}.layer{i}_rn", fusion, out, 3, 3, bias=0)
    for i in (1, 2, 3, 4):
        for unit in (1, 2) if i < 4 else (2,):
            for convolution in (1, 2):
                name = f"{scratch}.refinenet{i}.resConfUnit{unit}.conv{convolution}"
                layer(name, fusion, fusion, 3, 3)
        layer(f"{scratch}.refinenet{i}.out_conv", fusion, fusion, 1, 1)
    layer(f"{scratch}.output_conv1", fusion // 2, fusion, 3, 3)
    outputs = (
        {"output_conv2": 2} if shape.start >= 0 else {"output_conv2": 1, "sky_output_conv2": 1}
    )
    for output, channels in outputs.items():
        layer(f"{scratch}.{output}.0", 32, fusion // 2, 3, 3)
        layer(f"{scratch}.{output}.2", channels, 32, 1, 1)
    return found


def _values(draw: Draw, name: str, shape: torch.Size, residual: float) -> Tensor:
    if name.endswith("pos_embed"):
        return draw.position_embeddings(math.isqrt(shape[1] - 1), shape[2])[None]
    if name.endswith("token"):
        return draw(*shape, std=0.3)
    if name.endswith("patch_embed.proj.weight"):
        return draw.patch_filter(shape[0], shape[2])
    if name.endswith("gamma"):
        return residual * torch.exp(draw(*shape, std=0.3))
    if len(shape) == 1 or name.startswith("backbone."):
        return draw.block(name.replace("attn.proj", "out_proj"), shape, residual)
    if "resize_layers" in name and shape[2] in (2, 4):  # transposed: [in, out, k, k]
        common = draw(shape[0], shape[1], 1, 1)
        return (common + 0.2 * draw(*shape)) / math.sqrt(shape[0])
    if shape[2] == 1:
        return draw(*shape) / math.sqrt(shape[1])
    # A 3x3 filter of independent numbers mostly detects edges, so a blur is mixed in.
    mixed = 0.6 * draw(*shape) + 0.8 * draw(shape[0], shape[1], 1, 1)
    return mixed * _gain(name) / math.sqrt(shape[1] * shape[2] * shape[3] * 3)


def _gain(name: str) -> float:
    if name.endswith("conv2.weight"):
        return 0.6
    return 1.4 if re.search(r"Unit\d\.conv1|output_conv2\.0", name) else 1.0


def _scale_last_layer(
    state: dict[str, Tensor], shape: Shape, name: str, low: float, high: float
) -> None:
    """Scale the last layer of an output to values from about ``low`` to about ``high``.

    These are the values before the activation function, for pictures of the usual shapes.
    """
    weight, bias = state[f"{name}.2.weight"], state[f"{name}.2.bias"]
    weight.mul_(0.1)  # so that no exponential overflows
    bias.mul_(0.1)
    # The layers run in place of those for depth, because a logarithm undoes depth's activation.
    depth = "head.scratch.output_conv2"
    layers = {each.replace(name, depth): state[each] for each in state if each.startswith(name)}
    network = build({**state, **layers}, replace(shape.plan, has_sky=False))
    seen = [
        network(normalise(pictures(1, *size, SEED + 100 + seed), MEAN, STD)).log().flatten()
        for seed, size in enumerate(((504, 504), (378, 504), (504, 378)))
    ]
    values = torch.cat(seen)[::7].sort().values
    first, last = values[int(0.001 * len(values))].item(), values[int(0.999 * len(values))].item()
    scale = (high - low) / (last - first)
    weight.mul_(scale)
    bias.mul_(scale).add_(low - first * scale)


def config_json(shape: Shape) -> dict[str, Any]:
    """Return the config.json of the public repositories, with only the parts for depth."""
    views = shape.start >= 0
    into = (2 if views else 1) * shape.width

    def made_by(path: str, name: str) -> dict[str, Any]:
        full = f"depth_anything_3.model.{path}"
        return {"__object__": {"path": full, "name": name, "args": "as_params"}}

    net = {
        "name": shape.net,
        "out_layers": list(shape.stages),
        "alt_start": shape.start,
        "qknorm_start": shape.start,
        "rope_start": shape.start,
        "cat_token": views,
    }
    head = {
        "dim_in": into,
        "output_dim": 2 if views else 1,
        "features": shape.fusion,
        "out_channels": list(shape.neck),
    }
    kind = made_by("dualdpt", "DualDPT") if views else made_by("dpt", "DPT")
    config = {
        **made_by("da3", "DepthAnything3Net"),
        "net": {**made_by("dinov2.dinov2", "DinoV2"), **net},
        "head": {**kind, **head},
    }
    return {"model_name": shape.model_name, "config": config}
