# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Each family's reference: the library that its checkpoints were published for.

``python -m app models check`` compares Twinlens with it; the service never imports this module. A
reference uses the library for everything: to prepare pictures, to tokenize texts, and to run the
network in float32.
"""

from __future__ import annotations

import json
import string
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from app.engines.base import FloatArray
from app.host.memory import usable_cores
from app.lending.loader import Loader
from app.models import pretrained
from app.models.base import Family, NetworkId
from app.pictures.canvas import HostImages
from app.pictures.decode import Picture


class Reference(ABC):
    """Computes vectors or maps with a checkpoint's reference library."""

    #: library and version, such as "open_clip 3.3.0"
    title: str
    #: whether it is independent of Twinlens, so that agreement shows that the model is right
    is_independent = True

    @abstractmethod
    def image(self, picture: Image.Image) -> FloatArray:
        """The vector of a picture [dims], or its disparity map [h, w]: larger is nearer."""

    def text(self, text: str) -> FloatArray:
        """The vector of a text [dims]."""
        raise NotImplementedError(text)


class OpenClip(Reference):
    """open_clip with its network, transforms and tokenizer, all from the checkpoint's folder."""

    def __init__(self, family: Family) -> None:
        import open_clip

        self.title = f"open_clip {open_clip.__version__}"
        name = f"local-dir:{family.checkpoint.path}"
        create: Any = open_clip.create_model_and_transforms
        model, _, self._preprocess = create(
            name,
            **_text_encoder(family),
            # If the checkpoint does not state its activation, the family finds it out.
            force_quick_gelu=bool(vars(family).get("_quick_gelu")),
        )
        if not getattr(family, "rounds_margins", False):
            # Margins of the centre crop are rounded down, as in transformers' CLIPImageProcessor,
            # because the family follows transformers for OpenAI's models.
            self._preprocess.transforms = [
                _floored_crop(each) if type(each).__name__ == "CenterCrop" else each
                for each in self._preprocess.transforms
            ]
        self._model: Any = model.eval()
        load: Any = open_clip.get_tokenizer
        self._load_tokenizer = partial(load, name)
        self._tokenizer: Any = None

    def image(self, picture: Image.Image) -> FloatArray:
        """See the base class."""
        import torch

        with torch.inference_mode():
            return _array(self._model.encode_image(self._preprocess(picture)[None])[0])

    def text(self, text: str) -> FloatArray:
        """See the base class."""
        import torch

        self._tokenizer = self._tokenizer or self._load_tokenizer()
        with torch.inference_mode():
            return _array(self._model.encode_text(self._tokenizer([text]))[0])


class TransformersEmbedding(Reference):
    """transformers' ``get_image_features`` and ``get_text_features``; for DINO, pooled outputs."""

    def __init__(self, family: Family) -> None:
        import torch
        from transformers import AutoModel

        self.title = _transformers_title()
        self._folder = family.checkpoint.path
        self._settings = family.read_json("config.json")
        load: Any = AutoModel.from_pretrained
        safety = _safety(self._folder)
        self._model: Any = load(self._folder, dtype=torch.float32, **safety).eval()
        self._processor = _processor(self._folder)

    def image(self, picture: Image.Image) -> FloatArray:
        """See the base class."""
        import torch

        with torch.inference_mode():
            pixels = self._processor(images=picture, return_tensors="pt")["pixel_values"]
            compute = getattr(self._model, "get_image_features", self._model)
            return _array(compute(pixels).pooler_output[0])

    def text(self, text: str) -> FloatArray:
        """See the base class."""
        import torch

        with torch.inference_mode():
            tokens = self._tokens(text)
            return _array(self._model.get_text_features(**tokens).pooler_output[0])

    def _tokens(self, text: str) -> dict[str, Any]:
        """The tokens, made as transformers' documentation recommends for each architecture."""
        import transformers

        library: Any = transformers
        kind = self._settings["model_type"]
        options: dict[str, Any] = {"padding": True, "truncation": True, "return_tensors": "pt"}
        usual = 64 if kind == "siglip" else 77
        positions = (self._settings.get("text_config") or {}).get("max_position_embeddings", usual)
        # The networks of these two have more positions than the tokens that they were trained on.
        trained = {"chinese_clip": 52, "altclip": 77}.get(kind, positions)
        options["max_length"] = min(trained, positions)
        if kind == "siglip":
            options |= {"padding": "max_length", "return_attention_mask": False}
        try:
            if kind == "siglip" and self._has_gemma_tokens():  # GemmaTokenizer keeps capitals
                tokenizer = library.Siglip2Tokenizer.from_pretrained(
                    self._folder, padding_side="right"
                )
                return dict(tokenizer([text], **options))
            tokenizer = library.AutoTokenizer.from_pretrained(self._folder, trust_remote_code=False)
        except ImportError:  # SiglipTokenizer needs sentencepiece; the following does the same
            text = " ".join(text.lower().translate(_NO_PUNCTUATION).split())
            file = str(self._folder / "tokenizer.json")
            tokenizer = library.PreTrainedTokenizerFast(
                tokenizer_file=file,
                pad_token="</s>",  # noqa: S106 - the padding's name, no password
            )
        options["max_length"] = min(options["max_length"], tokenizer.model_max_length)
        return dict(tokenizer([text], **options))

    def _has_gemma_tokens(self) -> bool:
        settings: dict[str, Any] = {}
        with suppress(OSError, ValueError):
            settings = json.loads((self._folder / "tokenizer_config.json").read_bytes())
        return str(settings.get("tokenizer_class")).startswith(("Gemma", "Siglip2"))


class TransformersDepth(Reference):
    """The ``predicted_depth`` of transformers' depth estimators."""

    def __init__(self, family: Family) -> None:
        import torch
        from transformers import AutoModelForDepthEstimation

        self.title = _transformers_title()
        folder = family.checkpoint.path
        self._family: Any = family
        load: Any = AutoModelForDepthEstimation.from_pretrained
        self._model: Any = load(folder, dtype=torch.float32, **_safety(folder)).eval()
        self._processor = _processor(folder)

    def image(self, picture: Image.Image) -> FloatArray:
        """See the base class."""
        import torch

        with torch.inference_mode():
            inputs = self._processor(images=picture, return_tensors="pt")
            found = self._model(**inputs)
            output = _array(found.predicted_depth[0])
        # transformers' output is in metres; our network's is a fraction of the farthest distance.
        output = output / (getattr(self._family, "max_depth", None) or 1)
        if self._model.config.model_type == "depth_pro":  # the family needs both as channels
            view = 0.0 if found.field_of_view is None else float(found.field_of_view[0])
            output = np.stack((output, np.full_like(output, view)))
        return _disparity(self._family, output, picture)


class OwnNetwork(Reference):
    """Twinlens' own network in float32 on torch, for families that have no reference library.

    The comparison shows differences by engine and precision, not mistakes of the family itself.
    """

    title = "Twinlens' own network on torch, because no library here has this family"
    is_independent = False

    def __init__(self, family: Family) -> None:
        self._family: Any = family
        self._loader = Loader.make("torch", "fp32", "cpu", threads=usable_cores(), life=0)
        self._networks: dict[str, Any] = {}

    def image(self, picture: Image.Image) -> FloatArray:
        """See the base class."""
        upright, work = Picture(picture, picture.size), HostImages()
        if self._family.spec.task == "depth":
            output = self._infer("image", self._family.prepare(upright, work))
            return _disparity(self._family, output, picture)
        return self._infer("image", self._family.prepare_image(upright, None, work))

    def text(self, text: str) -> FloatArray:
        """See the base class."""
        return self._infer("text", self._family.prepare_text(text).ids)

    def _infer(self, name: str, inputs: Any) -> FloatArray:
        if name not in self._networks:
            id = NetworkId(self._family.spec, name)
            loaded = self._loader.load(id, self._family.checkpoint, "cpu")
            loaded.network.to_device("cpu")
            self._networks[name] = loaded
        output: FloatArray = self._networks[name].infer(inputs[None])[0]
        return output


#: The references by name of the family; all other families have ``OwnNetwork``.
REFERENCES: dict[str, Callable[[Family], Reference]] = {
    "depth_anything": TransformersDepth,
    "open_clip": OpenClip,
    "transformers": TransformersEmbedding,
    "transformers_depth": TransformersDepth,
}

_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


def reference_of(family: Family) -> Reference:
    """Load the reference of a checkpoint. Raises any exception of the library."""
    return REFERENCES.get(family.spec.family, OwnNetwork)(family)


def _text_encoder(family: Family) -> dict[str, Any]:
    """Arguments for a checkpoint that names a text encoder of transformers by its repository.

    open_clip would ask the hub for the encoder's config.json, even though the checkpoint has all
    weights. Here it gets the file that the family uses. Raises LoadError if there is none.
    """
    settings: dict[str, Any] = vars(family)["_texts"].tower_settings()
    if not settings.get("hf_model_name"):
        return {}
    path = str(settings["hf_model_name"])
    return {"text_cfg": settings | {"hf_model_name": path, "hf_model_pretrained": False}}


def _disparity(family: Any, output: FloatArray, picture: Image.Image) -> FloatArray:
    """The disparity of a photo, which the family computes from a network's output."""
    if hasattr(family, "crop"):  # removes the border that some families add to a photo
        output = family.crop(output, picture.size)
    disparity: FloatArray = family.disparity(output)
    return disparity


def _safety(folder: Path) -> dict[str, Any]:
    """Arguments with which no code in a checkpoint's folder is run, and no pickled function."""
    return {"trust_remote_code": False, **pretrained.safety(folder)}


def _processor(folder: Any) -> Any:
    from transformers import AutoImageProcessor

    # The implementation with Pillow, because the published figures were made with it.
    load: Any = AutoImageProcessor.from_pretrained
    return load(folder, backend="pil", trust_remote_code=False)


def _transformers_title() -> str:
    import transformers

    return f"transformers {transformers.__version__}"


def _floored_crop(crop: Any) -> Callable[[Image.Image], Image.Image]:
    height, width = crop.size

    def floored(picture: Image.Image) -> Image.Image:
        left, top = (picture.width - width) // 2, (picture.height - height) // 2
        return picture.crop((left, top, left + width, top + height))

    return floored


def _array(tensor: Any) -> FloatArray:
    return np.asarray(tensor.float().numpy(), np.float32)
