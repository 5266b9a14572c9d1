# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""CLIP's text tower through open_clip: a text to a vector in the space of the image vectors."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from app.engines.base import FloatArray, LoadError, Network, Unsupported
from app.hub.store import Checkpoint
from app.models import tokens
from app.models.base import Model
from app.models.clip import Clip, tower
from app.models.tokens import Tokens
from config.models import ModelSpec


class ClipText(Model):
    """The text tower of one CLIP checkpoint; its weights lie in the file of the image tower."""

    FILES = Clip.FILES
    PREFIX = (
        "token_embedding.",
        "positional_embedding",
        "transformer.",
        "ln_final.",
        "text_projection",
    )
    PREPROCESS_VERSION = Clip.PREPROCESS_VERSION
    INPUT_TYPE = np.int64

    def __init__(self, spec: ModelSpec, checkpoint: Checkpoint, network: Network) -> None:
        super().__init__(spec, checkpoint, network)
        self._length = _context_length(checkpoint)
        tokens.load()  # now, not in the first request

    @classmethod
    def check(cls, spec: ModelSpec, checkpoint: Checkpoint) -> None:
        """See the base class: also that its texts are made of CLIP's own tokens."""
        Clip.check(spec, checkpoint)
        _context_length(checkpoint)

    @classmethod
    def import_torch(cls) -> None:
        """See the base class."""
        Clip.import_torch()

    @classmethod
    def module(cls, spec: ModelSpec, checkpoint: Checkpoint) -> Any:
        """See the base class; its vectors [n, dims] are not normalised."""
        from open_clip.model import _build_text_tower

        _context_length(checkpoint)  # checks what the tower would be built from
        module = tower(spec, checkpoint, "text_cfg", _build_text_tower, cls.PREFIX)
        if module.attn_mask is not None:  # computed, hence in no file
            module.attn_mask = module.build_causal_mask()
        return module

    @classmethod
    def input_shape(cls, spec: ModelSpec, checkpoint: Checkpoint) -> tuple[int | None, ...]:  # noqa: ARG003
        """See the base class."""
        return None, _context_length(checkpoint)

    def warm_up(self) -> None:
        """See the base class."""
        self.network.warm_up(self.prepare("warm").ids[None])

    def prepare(self, text: str) -> Tokens:
        """The text as the network's input; what does not fit is left out.

        Raises:
            BadRequest: a blank text.
            TooLarge: more characters than a text may have.
        """
        return tokens.encode(text, self._length)

    def together(self) -> int:
        """See the base class."""
        return 8 if self.network.device == "cpu" else 32

    @staticmethod
    def finish(vector: FloatArray, normalize: bool) -> FloatArray:
        """As for images."""
        return Clip.finish(vector, normalize)


def _context_length(checkpoint: Checkpoint) -> int:
    """Tokens of one text, from the checkpoint's description.

    Raises:
        LoadError: its texts are not made of CLIP's own tokens, or it is damaged.
    """
    try:
        text = json.loads((checkpoint.path / Clip.FILES[0]).read_text())["model_cfg"]["text_cfg"]
        own = text.get("vocab_size", tokens.VOCABULARY) == tokens.VOCABULARY
        others = {"hf_model_name", "hf_tokenizer_name", "tokenizer_kwargs", "embed_cls"}
        length = int(text.get("context_length", 77))
    except Exception as error:  # a damaged file makes its parser raise anything
        raise LoadError("the checkpoint is damaged or not an open_clip model") from error
    if not own or any(text.get(name) for name in others):
        raise Unsupported("texts of this checkpoint are not made of CLIP's own tokens")
    return length
