# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Writes trained networks in the formats of the published ones, as fp16."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from benchmarks.checkpoints.depth import PREPROCESSOR

_METADATA = {"format": "pt", "weights": "built-in"}


def save_depth(network: Any, edge: int, folder: Path) -> None:
    """Save a network as ``save_pretrained`` does, but with our mark in the file's metadata.

    One side of a photo will be resized to ``edge`` pixels.
    """
    folder.mkdir(parents=True, exist_ok=True)
    network.config.architectures = [type(network).__name__]
    network.config.dtype = "float16"
    network.config.save_pretrained(folder)
    _save(network, folder / "model.safetensors")
    size = {"height": edge, "width": edge}
    _write_json(folder / "preprocessor_config.json", PREPROCESSOR | {"size": size})


def save_clip(network: Any, config: dict[str, Any], folder: Path) -> None:
    """Save a network in the layout of open_clip's ``push_to_hf_hub``."""
    folder.mkdir(parents=True, exist_ok=True)
    _write_json(folder / "open_clip_config.json", config)
    _save(network, folder / "open_clip_model.safetensors")


def _save(network: Any, file: Path) -> None:
    state = {name: value.half().contiguous() for name, value in network.state_dict().items()}
    save_file(state, file, metadata=_METADATA)
    file.chmod(0o644)  # safetensors makes files that only their owner may read


def _write_json(file: Path, content: dict[str, Any]) -> None:
    file.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
