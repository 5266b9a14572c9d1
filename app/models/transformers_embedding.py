# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Embedding models through transformers: CLIP and its relatives, SigLIP, and DINO (images only).

A checkpoint has the layout of https://huggingface.co/docs/transformers; its ``config.json`` names
the architecture as ``model_type``. CLIP: Radford et al. 2021, arXiv 2103.00020. MetaCLIP 2: Chuang
et al. 2025, arXiv 2507.22062. SigLIP and SigLIP 2: Zhai et al. 2023, arXiv 2303.15343, and
Tschannen et al. 2025, arXiv 2502.14786. Chinese CLIP: Yang et al. 2022, arXiv 2211.01335. AltCLIP:
Chen et al. 2022, arXiv 2211.06679. DINOv2 and DINOv3: Oquab et al. 2023, arXiv 2304.07193, and
Siméoni et al. 2025, arXiv 2508.10104.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from app.engines.base import InputArray, LoadError, Unsupported
from app.hub.store import Checkpoint
from app.models import description, pretrained, transformers_pictures, transformers_tokenizers
from app.models.description import ABSENT, Allowed
from app.models.embedding_family import EmbeddingFamily
from app.models.tokenizer_file import TokenizerFile
from app.models.tokens import Tokens
from app.models.transformers_tokenizers import BERT, CLIP, SIGLIP, XLM_ROBERTA, Kind, Wanted
from config.models import ModelSpec

_QUICK = "quick_gelu"
_TWO: dict[str, tuple[str, ...]] = {
    "image": ("vision_model.", "visual_projection."),
    "text": ("text_model.", "text_projection."),
}


@dataclass(frozen=True)
class Texts:
    """The text network of an architecture, with the defaults for values that a file omits."""

    tokenizer: Kind
    #: number of positions that the network has vectors for
    positions: int
    #: number of tokens that the network has vectors for
    vocabulary: int
    #: id of the token at whose position the network reads the vector; None: it reads the vector at
    #: the first or last position, whatever token is there
    end: int | None = None
    #: id of the padding token, set only if the network masks padding by this id
    pad: int | None = None
    #: number of positions that are never used for a token
    unused: int = 0
    #: number of tokens to which texts were cut in training, if the network has more positions
    trained: int | None = None


@dataclass(frozen=True)
class Architecture:
    """One ``model_type``, with the defaults for values that a ``config.json`` omits."""

    #: classes of transformers whose checkpoints are supported
    classes: tuple[str, ...]
    #: the image processor of checkpoints that do not name one
    processor: str
    dims: int
    image_size: int
    patch_size: int
    activation: str
    texts: Texts | None = None
    #: whether both networks end with a projection to "projection_dim" numbers
    is_projected: bool = True


def _clip(name: str, text: Texts, dims: int = 512) -> Architecture:
    return Architecture((f"{name}Model",), "CLIPImageProcessor", dims, 224, 32, _QUICK, text)


def _dino(name: str, processor: str, dims: int, patch: int) -> Architecture:
    classes = f"{name}Model", f"{name}ForImageClassification"
    return Architecture(classes, processor, dims, 224, patch, "gelu", is_projected=False)


_ARCHITECTURES = {
    "clip": _clip("CLIP", Texts(CLIP, 77, 49408, end=49407)),
    "metaclip_2": _clip("MetaClip2", Texts(XLM_ROBERTA, 77, 49408, end=49407)),
    "chinese_clip": Architecture(
        ("ChineseCLIPModel",),
        "ChineseCLIPImageProcessor",
        512,
        224,
        32,
        _QUICK,
        Texts(BERT, 512, 30522, pad=0, trained=52),
    ),
    "altclip": _clip("AltCLIP", Texts(XLM_ROBERTA, 514, 250002, pad=1, unused=2, trained=77), 768),
    "siglip": Architecture(
        ("SiglipModel",),
        "SiglipImageProcessor",
        768,
        224,
        16,
        "gelu_pytorch_tanh",
        Texts(SIGLIP, 64, 32000),
        is_projected=False,
    ),
    "dinov2": _dino("Dinov2", "BitImageProcessor", 768, 14),
    "dinov3_vit": _dino("DINOv3ViT", "DINOv3ViTImageProcessor", 384, 16),
}
_VISION: Allowed = {"num_channels": (3, ABSENT), "vision_use_head": (True, ABSENT)}
#: "eos_token_id" in CLIP checkpoints from before transformers 4.31. It is not the id of their end
#: token, so transformers reads the vector at the position of the highest id instead.
_LEGACY_END = 2


class Transformers(EmbeddingFamily):
    """One embedding checkpoint in transformers' file layout."""

    FILES = ("config.json", pretrained.PICTURES, "model.safetensors")
    OPTIONAL_FILES = (*pretrained.OPTIONAL_FILES, *transformers_tokenizers.FILES)
    SUBSTITUTES = pretrained.SUBSTITUTES
    #: includes that of NaFlex models, so that they are refused with a message that says why
    MODEL_TYPES: ClassVar[frozenset[str]] = frozenset({*_ARCHITECTURES, "siglip2"})
    NETWORKS: ClassVar[dict[str, tuple[str, ...]]] = _TWO

    def __init__(self, spec: ModelSpec, checkpoint: Checkpoint) -> None:
        """See the base class."""
        super().__init__(spec, checkpoint)
        file = self.FILES[0]
        config = self.read_json(file)
        self._model_type = _model_type(config, file)
        self._architecture = architecture = _ARCHITECTURES[self._model_type]
        allowed: Allowed = {
            "architectures": (*([name] for name in architecture.classes), None, ABSENT),
            "quantization_config": (None, ABSENT),
        }
        description.check(config, allowed, file)
        vision = _part(config, "vision_config", file) if architecture.texts else config
        description.check(
            vision, _VISION, f"vision_config in {file}" if architecture.texts else file
        )
        settings, settings_place = pretrained.picture_settings(checkpoint)
        self._read_preparation(settings, settings_place)
        self._check_size(vision, file, settings_place)
        widths = config if architecture.is_projected else vision
        name = "projection_dim" if architecture.is_projected else "hidden_size"
        self.dims = int(widths.get(name, architecture.dims))
        self._text = _part(config, "text_config", file) if architecture.texts else {}
        if architecture.texts and not architecture.is_projected:
            width = self._text.get("projection_size") or self._text.get("hidden_size", self.dims)
            if width != self.dims:
                raise Unsupported(f"{file}: images have {self.dims} dimensions, texts {width}")
        self.check_row(
            dims=self.dims,
            image_size=self.image_size,
            activation=vision.get("hidden_act", architecture.activation),
        )
        self._tokenizer: TokenizerFile | None = None

    @classmethod
    def import_libraries(cls) -> None:
        """See the base class."""
        from app.models import transformers_towers

        transformers_towers.import_libraries()

    def networks(self) -> Mapping[str, tuple[str, ...]]:
        """See the base class."""
        return _TWO if self._architecture.texts else {"image": ("",)}

    def module(self, network: str) -> Any:
        """See the base class; the module's vectors [n, dims] are not normalised."""
        from app.models import transformers_towers

        return transformers_towers.module(self.checkpoint.path, self._model_type, network)

    def check_network(self, network: str) -> None:
        """See the base class; the text network needs a tokenizer, which a checkpoint may lack."""
        texts = self._architecture.texts
        if network != "text" or texts is None:
            return
        reason = transformers_tokenizers.missing(self.checkpoint.path, texts.tokenizer)
        if reason is not None:
            raise LoadError(reason)
        transformers_tokenizers.check_settings(
            self._tokenizer_settings(), texts.tokenizer, self._wanted(texts)
        )

    def blank(self, network: str) -> InputArray:
        """See the base class."""
        texts = self._architecture.texts
        if network == "text" and texts is not None:
            return np.zeros((1, self._wanted(texts).length), np.int64)
        return np.zeros((1, 3, self.image_size, self.image_size), np.float32)

    def max_batch(self, network: str, device: str) -> int:  # noqa: ARG002
        """See the base class; the networks are like those of the family ``open_clip``."""
        return 8 if device == "cpu" else 32

    def prepare_text(self, text: str, language: str | None = None) -> Tokens:  # noqa: ARG002
        """See the base class; none of these models marks the language."""
        self.load_tokenizer()
        assert self._tokenizer is not None
        return self._tokenizer.encode(text)

    def load_tokenizer(self) -> None:
        """See the base class."""
        texts = self._architecture.texts
        if self._tokenizer is None and texts is not None:
            self._tokenizer = transformers_tokenizers.load(
                self.checkpoint.path,
                texts.tokenizer,
                self._tokenizer_settings(),
                self._wanted(texts),
            )

    def _read_preparation(self, found: dict[str, Any], where: str) -> None:
        preparation = transformers_pictures.read(found, self._architecture.processor, where)
        self.image_size, self.resize_edge = preparation.image_size, preparation.resize_edge
        self.resize_mode, self.interpolation = preparation.resize_mode, preparation.interpolation
        self.mean, self.deviation = preparation.mean, preparation.deviation

    def _check_size(self, vision: Mapping[str, Any], file: str, settings_place: str) -> None:
        """Raises Unsupported if the network cannot process pictures of ``image_size``."""
        edge, patch = (
            vision.get(name, default)
            for name, default in (
                ("image_size", self._architecture.image_size),
                ("patch_size", self._architecture.patch_size),
            )
        )
        if not isinstance(edge, int) or not isinstance(patch, int):
            raise Unsupported(f"{file} has no square pictures or patches; only these are supported")
        # DINO computes its position embedding for any size; that of the others has a fixed size.
        if self._architecture.texts is not None and edge != self.image_size:
            raise Unsupported(
                f"{file} has image_size {edge}, {settings_place} makes pictures of "
                f"{self.image_size}"
            )
        if self.image_size < patch:
            raise Unsupported(f"pictures of {self.image_size} pixels are less than one patch")

    def _wanted(self, texts: Texts) -> Wanted:
        positions = self._text.get("max_position_embeddings", texts.positions)
        length = positions - texts.unused
        end = None if texts.end is None else self._text.get("eos_token_id", texts.end)
        if end == _LEGACY_END and self._model_type == "clip":
            end = None
        # Longer texts are cut to the length in the tokenizer's file, as in transformers. SigLIP's
        # networks also read the padding, so a shorter context would change their vectors;
        # ``check_settings`` refuses that.
        most = self._tokenizer_settings().get("model_max_length")
        if isinstance(most, int) and not texts.tokenizer.is_cleaned:
            length = min(length, most)
        return Wanted(
            length=min(length, texts.trained or length),
            vocabulary=self._text.get("vocab_size", texts.vocabulary),
            end=end,
            pad=None if texts.pad is None else self._text.get("pad_token_id", texts.pad),
        )

    def _tokenizer_settings(self) -> dict[str, Any]:
        file = "tokenizer_config.json"
        return self.read_json(file) if (self.checkpoint.path / file).is_file() else {}


def _model_type(config: Mapping[str, Any], file: str) -> str:
    """The architecture of a checkpoint. Raises Unsupported if it is not a supported one."""
    if config.get("model_type") == "siglip2":
        raise Unsupported(
            f"{file} has model_type siglip2: NaFlex models, which take pictures of any aspect, are "
            'not supported; SigLIP 2 models for one size are, and have model_type "siglip"'
        )
    description.check(config, {"model_type": tuple(_ARCHITECTURES)}, file)
    return str(config["model_type"])


def _part(config: Mapping[str, Any], name: str, file: str) -> dict[str, Any]:
    """The part of ``config.json`` that describes one network.

    Old files have another part, such as "text_config_dict". Unless it is null, it replaces the
    usual part: for values that it omits, transformers uses its own defaults.
    """
    older = f"{name}_dict"
    return description.part(config, older if config.get(older) is not None else name, file)
