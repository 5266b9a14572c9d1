# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Makes tiny checkpoints of the family ``transformers_depth``, in the published file layout."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers.utils import logging

from config.models import ModelSpec

# Any, because the type hints of transformers' classes lack inherited arguments.
_made: Any = transformers

_NECK = {"neck_hidden_sizes": [8, 16, 24, 32], "fusion_hidden_size": 16}
_STAGES = ["stage1", "stage2", "stage3", "stage4"]
_VIT = {
    "hidden_size": 32,
    "num_hidden_layers": 4,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "image_size": 64,
    "patch_size": 16,
}


def _beit() -> Any:
    return _made.BeitConfig(
        **_VIT,
        use_relative_position_bias=True,
        reshape_hidden_states=False,
        out_features=_STAGES,
    )


def _hybrid() -> Any:
    backbone = {
        "global_padding": "same",
        "layer_type": "bottleneck",
        "depths": [1, 1, 1],
        "hidden_sizes": [32, 64, 128],
        "embedding_size": 16,
        "num_groups": 4,
        "out_features": _STAGES[:3],
        "embedding_dynamic_padding": True,
    }
    return _made.DPTConfig(
        **_VIT,
        is_hybrid=True,
        backbone_config=backbone,
        backbone_featmap_shape=[1, 128, 4, 4],
        backbone_out_indices=[0, 1, 2, 3],
        neck_hidden_sizes=[32, 64, 24, 32],
        fusion_hidden_size=16,
    )


def _swinv2() -> Any:
    backbone = _made.Swinv2Config(
        image_size=64,
        patch_size=4,
        embed_dim=8,
        depths=[1, 2, 2, 1],
        num_heads=[1, 2, 2, 4],
        window_size=4,
        out_features=_STAGES,
    )
    return _made.DPTConfig(
        backbone_config=backbone, neck_hidden_sizes=[8, 16, 32, 64], fusion_hidden_size=16
    )


def _dinov2() -> Any:
    backbone = _made.Dinov2Config(
        image_size=70,
        patch_size=14,
        hidden_size=32,
        num_hidden_layers=4,
        num_attention_heads=2,
        mlp_ratio=2,
        out_indices=[1, 2, 3, 4],
        apply_layernorm=False,
        reshape_hidden_states=False,
    )
    return _made.DPTConfig(backbone_config=backbone, use_bias_in_fusion_residual=False, **_NECK)


def _zoe(names: list[str], centres: str) -> Any:
    farthest = {"nyu": 10.0, "kitti": 80.0}
    heads = [
        {"name": name, "n_bins": 8, "min_depth": 1e-3, "max_depth": farthest[name]}
        for name in names
    ]
    return _made.ZoeDepthConfig(
        backbone_config=_beit(),
        bin_configurations=heads,
        bin_centers_type=centres,
        bottleneck_features=16,
        num_relative_features=8,
        bin_embedding_dim=16,
        num_attractors=[4, 3, 2, 1],
        num_patch_transformer_layers=4 if len(names) > 1 else None,
        patch_transformer_hidden_size=128,
        patch_transformer_intermediate_size=32,
        patch_transformer_num_attention_heads=4,
        **_NECK,
    )


def _depth_pro() -> Any:
    part = {
        "model_type": "dinov2",
        "image_size": 64,
        "patch_size": 16,
        "hidden_size": 32,
        "num_hidden_layers": 3,
        "num_attention_heads": 2,
        "mlp_ratio": 2,
    }
    return _made.DepthProConfig(
        patch_size=64,
        fusion_hidden_size=16,
        intermediate_hook_ids=[1, 0],
        intermediate_feature_dims=[16, 16],
        scaled_images_feature_dims=[24, 24, 16],
        use_fov_model=True,
        image_model_config=dict(part),
        patch_model_config=dict(part),
        fov_model_config=dict(part),
    )


def _dpt(**changes: Any) -> dict[str, Any]:
    return {
        "image_processor_type": "DPTImageProcessor",
        "do_resize": True,
        "size": {"height": 64, "width": 64},
        "resample": 3,
        "keep_aspect_ratio": False,
        "ensure_multiple_of": 1,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "do_pad": False,
        "size_divisor": None,
        "image_mean": [0.5, 0.4, 0.6],
        "image_std": [0.5, 0.3, 0.4],
        **changes,
    }


_PADDED = {
    "do_resize": False,
    "do_rescale": False,
    "do_pad": True,
    "size_divisor": 14,
    "image_mean": [123.675, 116.28, 103.53],
    "image_std": [58.395, 57.12, 57.375],
}
_ASPECT = {"keep_aspect_ratio": True, "ensure_multiple_of": 32}
# Like the first published files, which have a single number for the size and few settings.
_OLD = {
    "feature_extractor_type": "DPTFeatureExtractor",
    "do_normalize": True,
    "do_resize": True,
    "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.5, 0.5, 0.5],
    "resample": 2,
    "size": 64,
}
_ZOE = _dpt(
    image_processor_type="ZoeDepthImageProcessor",
    size={"height": 64, "width": 96},
    resample=2,
    do_pad=True,
    **_ASPECT,
)
_PRO = {
    "image_processor_type": "DepthProImageProcessorFast",
    "do_resize": True,
    "do_rescale": True,
    "rescale_factor": 1 / 255,
    "do_normalize": True,
    "resample": 2,
    "size": {"height": 256, "width": 256},
    "image_mean": 0.5,
    "image_std": 0.5,
}
#: For each kind: the class in transformers, a function that makes its configuration, and the
#: content of preprocessor_config.json.
KINDS: dict[str, tuple[str, Callable[[], Any], dict[str, Any]]] = {
    "vit": (
        "DPTForDepthEstimation",
        lambda: _made.DPTConfig(**_VIT, backbone_out_indices=[0, 1, 2, 3], **_NECK),
        _OLD,
    ),
    "hybrid": ("DPTForDepthEstimation", _hybrid, _dpt()),
    "beit": (
        "DPTForDepthEstimation",
        lambda: _made.DPTConfig(backbone_config=_beit(), **_NECK),
        _dpt(**_ASPECT),
    ),
    "swinv2": ("DPTForDepthEstimation", _swinv2, _dpt(resample=2)),
    "dinov2": ("DPTForDepthEstimation", _dinov2, _dpt(**_PADDED)),
    "zoe-nyu": ("ZoeDepthForDepthEstimation", lambda: _zoe(["nyu"], "softplus"), _ZOE),
    "zoe-kitti": ("ZoeDepthForDepthEstimation", lambda: _zoe(["kitti"], "normed"), _ZOE),
    "zoe-both": (
        "ZoeDepthForDepthEstimation",
        lambda: _zoe(["nyu", "kitti"], "softplus"),
        _ZOE,
    ),
    "depth-pro": ("DepthProForDepthEstimation", _depth_pro, _PRO),
}


def row(folder: Path, kind: str) -> ModelSpec:
    """The row of a tiny checkpoint."""
    return ModelSpec(key=kind, family="transformers_depth", path=folder / kind)


def write(folder: Path, kind: str) -> ModelSpec:
    """Write a tiny checkpoint with random weights into a folder, and return its row."""
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    name, config, settings = KINDS[kind]
    network = getattr(transformers, name)(config())
    _randomise(network)
    network.save_pretrained(folder / kind)
    (folder / kind / "preprocessor_config.json").write_text(json.dumps(settings))
    return row(folder, kind)


def _randomise(network: Any) -> None:
    """Set random weights that are large enough for a mistake in any part to show.

    Some last biases are high, so that the activation functions do not cut the outputs off at 0.
    """
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, weight in network.named_parameters():
            noise = torch.randn(weight.shape, generator=generator)
            if weight.dim() > 1 and "position" not in name and "token" not in name:
                weight.copy_(noise * 1.2 / weight[0].numel() ** 0.5)
            elif "norm" in name and name.endswith("weight"):
                weight.copy_(1 + 0.2 * noise)
            else:
                weight.copy_((0.5 if "position" in name else 0.3) * noise)
        for name, weight in network.named_parameters():
            heads = ("head.head.4.bias", "head.layers.4.bias", "fov_model.head.layers.4.bias")
            if name in heads:
                weight.fill_(4)
            elif "seed_bin_regressor" in name and name.endswith("conv2.bias"):
                weight.add_(3)  # keeps distances away from 0, where nearness has no limit
