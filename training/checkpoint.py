# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Writes trained networks in the formats of the published ones, as fp16."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

#: Where the service looks for the built-in models.
BUILTIN = Path(__file__).parents[1] / "app" / "models" / "builtin"

_METADATA = {"format": "pt", "weights": "built-in"}
_DEPTH_PREPROCESSOR = {
    "image_processor_type": "DPTImageProcessor",
    "do_resize": True,
    "size": {"height": 518, "width": 518},
    "keep_aspect_ratio": True,
    "ensure_multiple_of": 14,
    "resample": 3,
    "do_rescale": True,
    "rescale_factor": 1 / 255,
    "do_normalize": True,
    "image_mean": [0.485, 0.456, 0.406],
    "image_std": [0.229, 0.224, 0.225],
    "do_pad": False,
    "size_divisor": None,
}


def save_depth(network: Any, folder: Path) -> None:
    """As ``save_pretrained`` does, which cannot add to the file's metadata."""
    folder.mkdir(parents=True, exist_ok=True)
    network.config.architectures = [type(network).__name__]
    network.config.dtype = "float16"
    network.config.save_pretrained(folder)
    _save(network, folder / "model.safetensors")
    _write_json(folder / "preprocessor_config.json", _DEPTH_PREPROCESSOR)


def save_clip(network: Any, config: dict[str, Any], folder: Path) -> None:
    """As open_clip's ``push_to_hf_hub`` lays it out."""
    folder.mkdir(parents=True, exist_ok=True)
    _write_json(folder / "open_clip_config.json", config)
    _save(network, folder / "open_clip_model.safetensors")


def _save(network: Any, file: Path) -> None:
    state = {name: value.half().contiguous() for name, value in network.state_dict().items()}
    save_file(state, file, metadata=_METADATA)
    file.chmod(0o644)  # safetensors lets nobody else read it


def _write_json(file: Path, content: dict[str, Any]) -> None:
    file.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
