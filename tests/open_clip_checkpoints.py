# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tiny checkpoints of open_clip's architectures, in the published layout, with random weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import open_clip
import torch
from safetensors.torch import save_file

from app.hub.store import Checkpoint
from config.models import ModelSpec

WEIGHTS = "open_clip_model.safetensors"
VIT = {"image_size": 32, "layers": 2, "width": 64, "head_width": 32, "patch_size": 8}
TEXT = {"width": 32, "heads": 2, "layers": 2, "context_length": 24}


def timm(name: str, size: int, pool: str, proj: str | None, **more: Any) -> dict[str, Any]:
    """A ``vision_cfg`` with a tower of timm."""
    return {
        "timm_model_name": name,
        "timm_model_pretrained": True,  # must not lead to a download
        "image_size": size,
        "timm_pool": pool,
        "timm_proj": proj,
        **more,
    }


def encoder(folder: Path, config: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A ``text_cfg`` with a text encoder of transformers; writes the encoder's config.json."""
    file = folder / "text_encoder_config.json"
    file.write_text(json.dumps(config))
    # open_clip takes a path as well as a name, and needs no network for it.
    return {"hf_model_name": str(file), "hf_tokenizer_name": "x", "context_length": 24, **more}


def write(
    folder: Path, architecture: dict[str, Any], preparation: dict[str, Any] | None = None
) -> Any:
    """Write a checkpoint; gives the same network as open_clip itself builds and loads it."""
    found = {"model_cfg": architecture, "preprocess_cfg": preparation or {}}
    (folder / "open_clip_config.json").write_text(json.dumps(found))
    torch.manual_seed(1)
    name = f"local-dir:{folder}"
    network = open_clip.create_model(name, pretrained_text=False)
    shake(network)
    tensors = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
    save_file(tensors, folder / WEIGHTS, {"weights": "random"})
    return open_clip.create_model(name).eval()


@torch.no_grad()
def shake(network: torch.nn.Module) -> None:
    """Make every tensor matter: fresh networks have zeros, ones and tiny numbers in many."""
    draw = torch.Generator().manual_seed(2)
    for name, tensor in network.state_dict().items():
        if not tensor.is_floating_point():
            continue
        noise = torch.randn(tensor.shape, generator=draw)
        if name.endswith(("running_var", "gamma", "lambda_1", "lambda_2")):
            tensor.copy_(0.5 + noise.abs())
        elif tensor.ndim <= 1:
            tensor.add_(0.3 * noise)
        elif "pos_embed" in name or "positional_embedding" in name:
            tensor.add_(0.5 * noise)
        else:  # large enough that no layer is lost beside what it is added to
            tensor.mul_(1.2 * tensor[0].numel() ** -0.5 / tensor.std())


def described(folder: Path, **row: Any) -> tuple[ModelSpec, Checkpoint]:
    """A row for the checkpoint, as of a repository on the hub, and the checkpoint."""
    spec = ModelSpec(key="tiny", family="open_clip", **({"hub_id": "somebody/tiny"} | row))
    return spec, Checkpoint(folder, "1", folder)
