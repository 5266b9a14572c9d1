# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Makes Depth Anything checkpoints with random weights."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from transformers import DepthAnythingConfig, DepthAnythingForDepthEstimation, Dinov2Config

from benchmarks.checkpoints.hub_cache import Repository
from benchmarks.checkpoints.numbers import SEED, Draw, normalise, pictures

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


@dataclass(frozen=True)
class Shape:
    """The values in which the variants differ."""

    repository: str
    hidden: int
    layers: int
    heads: int
    stages: tuple[int, ...]
    neck: tuple[int, ...]
    fusion: int
    #: farthest distance of a metric model, metres; None for a relative model
    max_depth: int | None = None


_HUB = "depth-anything/Depth-Anything-V2-{}-hf"
SHAPES = {
    "small": Shape(_HUB.format("Small"), 384, 12, 6, (3, 6, 9, 12), (48, 96, 192, 384), 64),
    "base": Shape(_HUB.format("Base"), 768, 12, 12, (3, 6, 9, 12), (96, 192, 384, 768), 128),
    "large": Shape(
        _HUB.format("Large"), 1024, 24, 16, (5, 12, 18, 24), (256, 512, 1024, 1024), 256
    ),
}


def tiny(shape: Shape) -> Shape:
    """Shrink a shape so that it answers in milliseconds; the architecture stays the same."""
    return replace(
        shape, hidden=48, layers=4, heads=3, stages=(1, 2, 3, 4), neck=(8, 12, 16, 24), fusion=16
    )


PREPROCESSOR = {
    "image_processor_type": "DPTImageProcessor",
    "do_resize": True,
    "size": {"height": 518, "width": 518},
    "keep_aspect_ratio": True,
    "ensure_multiple_of": 14,
    "resample": 3,
    "do_rescale": True,
    "rescale_factor": 1 / 255,
    "do_normalize": True,
    "image_mean": MEAN,
    "image_std": STD,
    "do_pad": False,
    "size_divisor": None,
}


def make(key: str, small_scale: bool) -> Repository:
    """Make the repository of one variant."""
    shape = tiny(SHAPES[key]) if small_scale else SHAPES[key]
    return made(shape, SEED + 1 + list(SHAPES).index(key))


def made(shape: Shape, seed: int) -> Repository:
    """Make a repository of this shape, with weights that the seed determines."""
    network = _network(shape, seed)
    state = {_hub_name(name): value for name, value in network.state_dict().items()}
    files = {"config.json": _config_json(shape), "preprocessor_config.json": PREPROCESSOR}
    return Repository(shape.repository, files, "model.safetensors", state)


@torch.no_grad()
def _network(shape: Shape, seed: int) -> Any:
    torch.manual_seed(0)
    network: Any = DepthAnythingForDepthEstimation(_config(shape))
    network.eval()
    draw = Draw(seed)
    # In a deeper network each layer adds less, so that the sum over all layers is similar.
    residual = 0.35 * math.sqrt(12 / shape.layers)
    for name, parameter in network.named_parameters():
        parameter.copy_(_values(draw, name, parameter.shape, residual))
    _scale_last_layer(network)
    return network


def _values(draw: Draw, name: str, shape: torch.Size, residual: float) -> Tensor:
    if name.endswith("position_embeddings"):
        return draw.position_embeddings(math.isqrt(shape[1] - 1), shape[2])[None]
    if name.endswith("cls_token"):
        return draw(*shape, std=0.3)
    if name.endswith("mask_token"):
        return torch.zeros(shape)
    if name.endswith("patch_embeddings.projection.weight"):
        return draw.patch_filter(shape[0], shape[2])
    if name.startswith("backbone.") or len(shape) == 1:
        return (
            draw.block(name, shape, residual)
            if name.startswith("backbone.")
            else draw(*shape, std=0.05)
        )
    if "resize.weight" in name and shape[2] in (2, 4):  # a transposed convolution: [in, out, k, k]
        common = draw(shape[0], shape[1], 1, 1)
        return (common + 0.2 * draw(*shape)) / math.sqrt(shape[0])
    if shape[2] == 1:
        return draw(*shape) * _gain(name) / math.sqrt(shape[1])
    # A 3x3 filter of independent numbers mostly detects edges, so a blur is mixed in.
    mixed = 0.6 * draw(*shape) + 0.8 * draw(shape[0], shape[1], 1, 1)
    return mixed * _gain(name) / math.sqrt(shape[1] * shape[2] * shape[3] * 3)


def _gain(name: str) -> float:
    if "convolution2" in name:
        return 0.6
    return 1.4 if re.search(r"residual_layer\d\.convolution|head\.conv2", name) else 1.0


def _scale_last_layer(network: Any) -> None:
    """Scale the last layer for a useful range of values before the last activation function.

    For pictures of the usual shapes, the values then run from about 1 to about 20, or from about
    -4 to about 4 in a metric model.
    """
    seen: list[Tensor] = []
    hook = network.head.conv3.register_forward_hook(
        lambda _module, _inputs, output: seen.append(output.flatten().clone())
    )
    for height, width, seed in ((518, 518, 1), (518, 686, 2), (686, 518, 3)):
        network(normalise(pictures(1, height, width, SEED + 100 + seed), MEAN, STD))
    hook.remove()
    values = torch.cat(seen)[::7].sort().values
    low, high = values[int(0.001 * len(values))].item(), values[int(0.999 * len(values))].item()
    least, most = (1, 20) if network.config.depth_estimation_type == "relative" else (-4, 4)
    scale = (most - least) / (high - low)
    network.head.conv3.weight.mul_(scale)
    network.head.conv3.bias.mul_(scale).add_(least - low * scale)


def _config(shape: Shape) -> DepthAnythingConfig:
    make_backbone: Any = Dinov2Config  # Any, because its type hints lack out_indices
    backbone = make_backbone(
        hidden_size=shape.hidden,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        patch_size=14,
        image_size=518,
        out_indices=list(shape.stages),
        reshape_hidden_states=False,
        apply_layernorm=True,
    )
    return DepthAnythingConfig(
        backbone_config=backbone,
        reassemble_hidden_size=shape.hidden,
        patch_size=14,
        neck_hidden_sizes=list(shape.neck),
        fusion_hidden_size=shape.fusion,
        reassemble_factors=[4, 2, 1, 0.5],
        head_hidden_size=32,
        **_kind(shape),
    )


def _kind(shape: Shape) -> dict[str, Any]:
    if shape.max_depth is None:
        return {"depth_estimation_type": "relative"}
    return {"depth_estimation_type": "metric", "max_depth": shape.max_depth}


def _config_json(shape: Shape) -> dict[str, Any]:
    """Return the config.json of the public repositories, with only the keys that matter."""
    return {
        "architectures": ["DepthAnythingForDepthEstimation"],
        "model_type": "depth_anything",
        "backbone": None,
        "backbone_config": {
            "architectures": ["Dinov2Model"],
            "model_type": "dinov2",
            "hidden_size": shape.hidden,
            "num_hidden_layers": shape.layers,
            "num_attention_heads": shape.heads,
            "image_size": 518,
            "patch_size": 14,
            "out_indices": list(shape.stages),
            "out_features": [f"stage{i}" for i in shape.stages],
            "reshape_hidden_states": False,
            "apply_layernorm": True,
        },
        "fusion_hidden_size": shape.fusion,
        "head_hidden_size": 32,
        "head_in_index": -1,
        "initializer_range": 0.02,
        "neck_hidden_sizes": list(shape.neck),
        "patch_size": 14,
        "reassemble_factors": [4, 2, 1, 0.5],
        "reassemble_hidden_size": shape.hidden,
        **_kind(shape),
        "use_pretrained_backbone": False,
        "torch_dtype": "float32",
    }


_OLD_NAMES = {
    "attention.q_proj": "attention.attention.query",
    "attention.k_proj": "attention.attention.key",
    "attention.v_proj": "attention.attention.value",
    "attention.o_proj": "attention.output.dense",
}


def _hub_name(name: str) -> str:
    """Return a tensor's name in the hub's files, which have DINOv2's names from transformers 4."""
    for new, old in _OLD_NAMES.items():
        if re.search(rf"encoder\.layer\.\d+\.{re.escape(new)}\.", name):
            return name.replace(new, old)
    return name
