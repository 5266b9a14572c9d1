# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Models of open_clip, such as CLIP and SigLIP: images and texts to vectors in one space.

Radford et al., "Learning Transferable Visual Models From Natural Language Supervision", 2021,
https://arxiv.org/abs/2103.00020; Zhai et al., "Sigmoid Loss for Language Image Pre-Training", 2023,
https://arxiv.org/abs/2303.15343. All models that the installed open_clip can build are supported:
with its own image and text towers, timm's image towers, or transformers' text encoders.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from app.engines.base import InputArray, LoadError, Unsupported
from app.hub.store import Checkpoint
from app.models import description, open_clip_towers
from app.models.description import ABSENT, Allowed
from app.models.embedding_family import EmbeddingFamily
from app.models.open_clip_activation import uses_quick_gelu
from app.models.open_clip_text import (
    ENCODER_CONFIG,
    SPECIAL_TOKENS,
    TOKENIZER,
    TOKENIZER_CONFIG,
    Texts,
)
from app.models.tokens import Tokens
from app.pictures.resampling import Colour
from config.models import ModelSpec

MEAN = np.array([0.48145466, 0.4578275, 0.40821073], np.float32)
STD = np.array([0.26862954, 0.26130258, 0.27577711], np.float32)

# Supported preprocessing settings; a setting may be absent if open_clip's default is supported.
# open_clip's interpolation "random" varies only in training; for inference it is bicubic.
_PREPARATION: Allowed = {
    "mode": ("RGB", ABSENT),
    "interpolation": ("bicubic", "bilinear", "random", ABSENT),
    "resize_mode": ("shortest", "longest", "squash", ABSENT),
}


class OpenClip(EmbeddingFamily):
    """One checkpoint in open_clip's file layout."""

    FILES = ("open_clip_config.json", "open_clip_model.safetensors")
    OPTIONAL_FILES = (TOKENIZER, TOKENIZER_CONFIG, SPECIAL_TOKENS, ENCODER_CONFIG)
    NETWORKS: ClassVar[dict[str, tuple[str, ...]]] = open_clip_towers.PREFIXES

    def __init__(self, spec: ModelSpec, checkpoint: Checkpoint) -> None:
        """See the base class."""
        super().__init__(spec, checkpoint)
        file = self.FILES[0]
        found = self.read_json(file)
        architecture = description.part(found, "model_cfg", file)
        self._vision = description.part(architecture, "vision_cfg", file)
        text = description.part(architecture, "text_cfg", file)
        preparation = description.part(found, "preprocess_cfg", file)
        self.dims = int(architecture["embed_dim"])
        self.image_size = _edge(self._vision.get("image_size", 224), f"vision_cfg in {file}")
        self._read_preparation(preparation, f"preprocess_cfg in {file}")
        self.check_row(dims=self.dims, image_size=self.image_size)
        if ":" in str(self._vision.get("timm_model_name")):
            raise Unsupported(f"vision_cfg in {file} names an architecture on the hub")
        self._quick_gelu = uses_quick_gelu(spec, architecture, file)
        self._texts = Texts(checkpoint, text, f"text_cfg in {file}")
        # For OpenAI's models, the centre crop is that of transformers' CLIP, which rounds margins
        # down, because users have stored such vectors. All others follow open_clip, which rounds
        # halves to even.
        origin = spec.hub_id or str(spec.path or "")
        self.rounds_margins = not spec.is_built_in and ".openai" not in origin

    @classmethod
    def recognises(cls, files: Mapping[str, Mapping[str, Any]]) -> bool:
        """See the base class."""
        return "model_cfg" in files.get(cls.FILES[0], {})

    @classmethod
    def import_libraries(cls) -> None:
        """See the base class."""
        import open_clip.model  # noqa: F401

    def module(self, network: str) -> Any:
        """See the base class; the module's vectors [n, dims] are not normalised."""
        settings = self._vision if network == "image" else self._texts.tower_settings()
        file = self.checkpoint.path / self.FILES[1]
        return open_clip_towers.build(network, self.dims, settings, self._quick_gelu, file)

    def check_network(self, network: str) -> None:
        """See the base class; the text network needs a tokenizer, which a checkpoint may lack."""
        if network == "text":
            self._texts.check()

    def blank(self, network: str) -> InputArray:
        """See the base class."""
        if network == "text":
            # Not 0 or 1, which are padding for some networks: a text of nothing but padding would
            # leave them no token to read.
            return np.full((1, self._texts.context_length), 2, np.int64)
        return np.zeros((1, 3, self.image_size, self.image_size), np.float32)

    def max_batch(self, network: str, device: str) -> int:  # noqa: ARG002
        """See the base class; on 2 cores a batch of 8 is 5 to 20 % faster than 8 single runs."""
        return 8 if device == "cpu" else 32

    def prepare_text(self, text: str, language: str | None = None) -> Tokens:
        """See the base class."""
        return self._texts.encode(text, language)

    def load_tokenizer(self) -> None:
        """See the base class."""
        self._texts.load()

    def _read_preparation(self, settings: dict[str, Any], where: str) -> None:
        """Read how images are prepared. Raises LoadError if that is not supported."""
        found = {name: value for name, value in settings.items() if value is not None}
        edge = self.image_size
        description.check(found, {**_PREPARATION, "size": (edge, [edge, edge], ABSENT)}, where)
        self.resize_mode = found.get("resize_mode", "shortest")
        self.interpolation = "bilinear" if found.get("interpolation") == "bilinear" else "bicubic"
        self.fill = _colour(found.get("fill_color", 0), f"fill_color of {where}")
        self.mean = description.channels(found.get("mean", MEAN), f"mean of {where}")
        self.deviation = description.channels(found.get("std", STD), f"std of {where}")
        if not (self.deviation > 0).all():
            raise Unsupported(f"std of {where} must be above 0")


def _edge(size: object, where: str) -> int:
    """The edge of a square input, pixels. Raises Unsupported if it is no square."""
    sides: list[Any] = size if isinstance(size, list) else [size, size]
    if len(sides) != 2 or not all(isinstance(side, int) and side > 0 for side in sides):
        raise LoadError(f'{where} has "image_size": {size}, which is no size')
    if sides[0] != sides[1]:
        raise Unsupported(f'{where} has "image_size": {size}; supported are squares')
    return int(sides[0])


def _colour(found: object, what: str) -> Colour:
    """The colour that a checkpoint states as one grey level or as three levels, 0 to 255.

    Raises:
        Unsupported: it is anything else.
    """
    levels: list[Any] = found if isinstance(found, list) else [found] * 3
    if len(levels) != 3 or not all(isinstance(each, int) and 0 <= each < 256 for each in levels):
        raise Unsupported(f"{what} must be one or three levels from 0 to 255")
    return levels[0], levels[1], levels[2]
