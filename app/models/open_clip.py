# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""CLIP through open_clip: images and texts to vectors in one space.

Radford et al., "Learning Transferable Visual Models From Natural Language Supervision", 2021,
https://arxiv.org/abs/2103.00020. Images are preprocessed like transformers' CLIPImageProcessor
does, because users have stored vectors from the service that Twinlens replaces, which used it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from safetensors import safe_open

from app.engines.base import FloatArray, InputArray, Unsupported
from app.hub.store import Checkpoint
from app.models import description, tokens
from app.models.description import ABSENT, Allowed
from app.models.embedding_family import EmbeddingFamily
from app.models.tokens import Tokens
from config.models import ModelSpec

MEAN = np.array([0.48145466, 0.4578275, 0.40821073], np.float32)
STD = np.array([0.26862954, 0.26130258, 0.27577711], np.float32)

# Supported preprocessing settings. A setting may be absent if open_clip's default is the supported
# value.
_PREPARATION: Allowed = {
    "mode": ("RGB", ABSENT),
    "interpolation": ("bicubic", ABSENT),
    "resize_mode": ("shortest", ABSENT),
}
# Multimodal networks and towers that also output tokens are not supported.
_ARCHITECTURE: Allowed = {"multimodal_cfg": (None, ABSENT)}
_TOWER: Allowed = {"output_tokens": (False, None, ABSENT)}
# Settings of text towers that use another tokenizer or another network than CLIP's own.
_FOREIGN_TEXT = ("hf_model_name", "hf_tokenizer_name", "tokenizer_kwargs", "embed_cls")


class OpenClip(EmbeddingFamily):
    """One CLIP checkpoint in open_clip's file layout."""

    FILES = ("open_clip_config.json", "open_clip_model.safetensors")
    NETWORKS: ClassVar[dict[str, tuple[str, ...]]] = {
        "image": ("visual.",),
        "text": (
            "token_embedding.",
            "positional_embedding",
            "transformer.",
            "ln_final.",
            "text_projection",
        ),
    }

    def __init__(self, spec: ModelSpec, checkpoint: Checkpoint) -> None:
        """See the base class."""
        super().__init__(spec, checkpoint)
        file = self.FILES[0]
        found = self.read_json(file)
        architecture = description.part(found, "model_cfg", file)
        vision = description.part(architecture, "vision_cfg", file)
        text = description.part(architecture, "text_cfg", file)
        preparation = description.part(found, "preprocess_cfg", file)
        description.check(architecture, _ARCHITECTURE, f"model_cfg in {file}")
        description.check(vision, _TOWER, f"vision_cfg in {file}")
        description.check(text, _TOWER, f"text_cfg in {file}")
        self._architecture = architecture
        self.dims = int(architecture["embed_dim"])
        self.image_size = int(vision["image_size"])
        self._read_preparation(preparation, f"preprocess_cfg in {file}")
        self.check_row(dims=self.dims, image_size=self.image_size)
        # With the wrong activation a checkpoint loads but all its vectors are wrong. open_clip 3 no
        # longer selects QuickGELU for OpenAI's weights by itself, so it is never guessed.
        if architecture.get("quick_gelu") is not None:
            activation = "quick_gelu" if architecture["quick_gelu"] else "gelu"
            self.check_row(activation=activation)
        elif spec.activation is not None:
            activation = spec.activation
        else:
            raise Unsupported(
                f'model_cfg in {file} lacks "quick_gelu"; state activation = "gelu" or '
                '"quick_gelu" in its row of the table; its page on the hub says which'
            )
        self._quick_gelu = activation == "quick_gelu"
        #: most tokens of a text, start and end tokens included
        self.context_length = int(text.get("context_length", 77))
        #: whether the text tower uses CLIP's own tokenizer
        self._has_own_tokens = text.get("vocab_size", tokens.VOCABULARY) == tokens.VOCABULARY and (
            not any(text.get(name) for name in _FOREIGN_TEXT)
        )

    @classmethod
    def recognises(cls, files: Mapping[str, Mapping[str, Any]]) -> bool:
        """See the base class."""
        return "model_cfg" in files.get(cls.FILES[0], {})

    @classmethod
    def import_libraries(cls) -> None:
        """See the base class."""
        import open_clip.model  # noqa: F401

    def module(self, network: str) -> Any:
        """See the base class; the module's vectors [n, dims] are not normalised.

        The tower is built on the meta device, without memory, and then gets the memory-mapped
        tensors of the file. So no weights are copied (except 16-bit floats, which become float32)
        and no kernels run; open_clip's ``create_model`` would run many to initialise weights.
        """
        import torch
        from open_clip.model import _build_text_tower, _build_vision_tower

        build, part = {
            "image": (_build_vision_tower, "vision_cfg"),
            "text": (_build_text_tower, "text_cfg"),
        }[network]
        with torch.device("meta"):
            module = build(self.dims, self._architecture[part], quick_gelu=self._quick_gelu)
        with safe_open(self.checkpoint.path / self.FILES[1], framework="pt") as file:
            prefixes = self.NETWORKS[network]
            names = [name for name in file.keys() if name.startswith(prefixes)]  # noqa: SIM118
            tensors = {
                name.removeprefix("visual."): file.get_tensor(name).float() for name in names
            }
        module.load_state_dict(tensors, strict=True, assign=True)
        if network == "text" and module.attn_mask is not None:  # computed, so not in the file
            module.attn_mask = module.build_causal_mask()
        return module.eval()

    def check_network(self, network: str) -> None:
        """See the base class; the text network needs CLIP's own tokenizer."""
        if network == "text" and not self._has_own_tokens:
            raise Unsupported("texts of this checkpoint are not made of CLIP's own tokens")

    def blank(self, network: str) -> InputArray:
        """See the base class."""
        if network == "text":
            return np.zeros((1, self.context_length), np.int64)
        return np.zeros((1, 3, self.image_size, self.image_size), np.float32)

    def max_batch(self, network: str, device: str) -> int:  # noqa: ARG002
        """See the base class; on 2 cores a batch of 8 is 5 to 20 % faster than 8 single runs."""
        return 8 if device == "cpu" else 32

    def prepare_text(self, text: str) -> Tokens:
        """See the base class."""
        return tokens.encode(text, self.context_length)

    def load_tokenizer(self) -> None:
        """See the base class."""
        tokens.load()

    def _read_preparation(self, found: dict[str, Any], where: str) -> None:
        """Read mean and deviation. Raises LoadError if the preprocessing is not supported."""
        edge = self.image_size
        description.check(found, {**_PREPARATION, "size": (edge, [edge, edge], ABSENT)}, where)
        self.mean = _channels(found.get("mean", MEAN), f"mean of {where}")
        self.deviation = _channels(found.get("std", STD), f"std of {where}")
        if not (self.deviation > 0).all():
            raise Unsupported(f"std of {where} must be above 0")


def _channels(found: object, what: str) -> FloatArray:
    """Three numbers, for red, green and blue. Raises Unsupported for anything else."""
    try:
        values = np.array(found, np.float32)
    except (TypeError, ValueError):
        values = np.empty(0, np.float32)
    if values.shape != (3,) or not np.isfinite(values).all():
        raise Unsupported(f"{what} must be three numbers")
    return values
