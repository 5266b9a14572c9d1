# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Loads networks of the family ``transformers`` as torch modules, which compute vectors."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

from app.models import pretrained

#: How the names of transformers' classes begin, by ``model_type``.
_CLASSES = {
    "clip": "CLIP",
    "metaclip_2": "MetaClip2",
    "siglip": "Siglip",
    "chinese_clip": "ChineseCLIP",
    "altclip": "AltCLIP",
    "dinov2": "Dinov2",
    "dinov3_vit": "DINOv3ViT",
}
#: Classes that hold only one of the two networks, so that the other is not loaded. Networks that
#: are not listed are taken from the class with both. "{}" stands for the name in ``_CLASSES``.
_PARTS = {
    ("clip", "image"): "{}VisionModelWithProjection",
    ("clip", "text"): "{}TextModelWithProjection",
    ("metaclip_2", "image"): "{}VisionModelWithProjection",
    ("metaclip_2", "text"): "{}TextModelWithProjection",
    ("siglip", "image"): "{}VisionModel",
    ("siglip", "text"): "{}TextModel",
}
#: Text networks for which padding is masked. The others need no mask, because they are causal or
#: were trained on padded texts without one.
_MASKED = ("chinese_clip", "altclip")


def module(folder: Path, model_type: str, network: str) -> Any:
    """One network of a checkpoint as a torch module in evaluation mode, float32.

    Its vectors are those of transformers' ``get_image_features`` or ``get_text_features``; for
    DINO they are its ``pooler_output``. They are not normalised.

    Raises:
        LoadError: tensors are missing, or their shapes differ from those in ``config.json``.
    """
    import torch

    tower, projection = _parts(_load(folder, model_type, network), network)
    masked = network == "text" and model_type in _MASKED

    class Tower(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.tower = tower
            self.projection = projection

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            if masked:
                # transformers uses a mask of four dimensions as it is. From one of two dimensions,
                # it would make a mask only if there is padding, and a traced network would repeat
                # the choice made for its example.
                mask = (inputs != self.tower.config.pad_token_id)[:, None, None, :]
                last = self.tower(inputs, attention_mask=mask).last_hidden_state
                pooled = last[:, 0]
            else:
                pooled = self.tower(inputs).pooler_output
            vectors: torch.Tensor = self.projection(pooled)
            return vectors

    return Tower().eval()


def configuration(folder: Path, model_type: str) -> Any:
    """transformers' configuration object, with its defaults for values that the file omits."""
    return _class(model_type, "{}Model").config_class.from_pretrained(folder, local_files_only=True)


def import_libraries() -> None:
    """Import the libraries that ``module`` needs."""
    import torch  # noqa: F401
    from transformers import AutoModel  # noqa: F401


def _class(model_type: str, name: str) -> Any:
    package = import_module(f"transformers.models.{model_type}.modeling_{model_type}")
    return getattr(package, name.format(_CLASSES[model_type]))


def _load(folder: Path, model_type: str, network: str) -> Any:
    config = configuration(folder, model_type)
    name = _PARTS.get((model_type, network))
    if name is not None:
        whole = config
        config = whole.vision_config if network == "image" else whole.text_config
        # A class with one network reads the projection's width from that network's part of the
        # configuration, where it may be missing or wrong.
        if hasattr(whole, "projection_dim"):
            config.projection_dim = whole.projection_dim
    return pretrained.load(
        _class(model_type, name or "{}Model"),
        folder,
        f"its {network} network",
        config=config,
        attn_implementation="sdpa",
    )


def _parts(loaded: Any, network: str) -> tuple[Any, Any]:
    """The network without its projection, and the projection; the identity if it has none."""
    import torch

    prefix = {"image": "vision", "text": "text"}[network]
    tower = getattr(loaded, f"{prefix}_model", loaded)
    name = {"image": "visual_projection", "text": "text_projection"}[network]
    return tower, getattr(loaded, name, torch.nn.Identity())
