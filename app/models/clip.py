# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""CLIP's image tower through open_clip: a picture to an embedding vector; see also clip_text.

Radford et al., "Learning Transferable Visual Models From Natural Language Supervision", 2021,
https://arxiv.org/abs/2103.00020. The preparation is that of transformers' CLIPImageProcessor,
which the replaced service used: users' stored vectors came from it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from safetensors import safe_open

from app.engines.base import FloatArray, LoadError, Network
from app.hub.store import Checkpoint
from app.models import description
from app.models.base import Model, Source, Steps, unchanged
from app.models.description import ABSENT, Allowed
from app.pictures.canvas import Canvas
from config.models import ModelSpec

MEAN = np.array([0.48145466, 0.4578275, 0.40821073], np.float32)
STD = np.array([0.26862954, 0.26130258, 0.27577711], np.float32)
_OVERSAMPLED = 2.0
_LARGEST_RESIZED = 20_000_000  # pixels

# Where a file does not mention it, open_clip's own default is the same.
_PREPARATION: Allowed = {
    "mode": ("RGB", ABSENT),
    "mean": (MEAN.tolist(), ABSENT),
    "std": (STD.tolist(), ABSENT),
    "interpolation": ("bicubic", ABSENT),
    "resize_mode": ("shortest", ABSENT),
}
# Their towers give more than a vector.
_ARCHITECTURE: Allowed = {"multimodal_cfg": (None, ABSENT)}
_TOWER: Allowed = {"output_tokens": (False, None, ABSENT)}


class Clip(Model):
    """The image tower of one CLIP checkpoint."""

    FILES = ("open_clip_config.json", "open_clip_model.safetensors")
    PREFIX = "visual."  # the image tower
    PREPROCESS_VERSION = 1  # of both towers

    def __init__(self, spec: ModelSpec, checkpoint: Checkpoint, network: Network) -> None:
        super().__init__(spec, checkpoint, network)
        assert spec.image_size is not None  # the table of models was checked
        self._edge = spec.image_size

    @classmethod
    def check(cls, spec: ModelSpec, checkpoint: Checkpoint) -> None:
        """See the base class: CLIP as open_clip describes it, prepared as ``prepare`` does."""
        file = cls.FILES[0]
        found = description.read(checkpoint, file)
        architecture = description.part(found, "model_cfg", file)
        edge = spec.image_size
        allowed: Allowed = {**_PREPARATION, "size": (edge, [edge, edge], ABSENT)}
        preparation = description.part(found, "preprocess_cfg", file)
        description.check(preparation, allowed, f"preprocess_cfg in {file}")
        description.check(architecture, _ARCHITECTURE, f"model_cfg in {file}")
        for part in ("vision_cfg", "text_cfg"):
            tower_cfg = description.part(architecture, part, file)
            description.check(tower_cfg, _TOWER, f"{part} in {file}")
        _compare(spec, architecture)

    @classmethod
    def import_torch(cls) -> None:
        """See the base class."""
        import open_clip.model  # noqa: F401

    @classmethod
    def module(cls, spec: ModelSpec, checkpoint: Checkpoint) -> Any:
        """See the base class; its vectors [n, dims] are not normalised."""
        from open_clip.model import _build_vision_tower

        return tower(spec, checkpoint, "vision_cfg", _build_vision_tower, cls.PREFIX)

    @classmethod
    def input_shape(cls, spec: ModelSpec, checkpoint: Checkpoint) -> tuple[int | None, ...]:  # noqa: ARG003
        """See the base class."""
        return None, 3, spec.image_size, spec.image_size

    def warm_up(self) -> None:
        """See the base class."""
        self.network.warm_up(np.zeros((1, 3, self._edge, self._edge), np.float32))

    def enough(self, image_size: int | None, width: int, height: int) -> tuple[int, int]:
        """How large an image of this size must be decoded for ``prepare``; measured, see
        docs/performance.md.
        """
        scale = _OVERSAMPLED * (image_size or self._edge) / min(width, height)
        return math.ceil(width * scale), math.ceil(height * scale)

    def steps(self, image_size: int | None, size: tuple[int, int]) -> Steps:
        """What ``prepare`` does with a photo of this size first: resize the shortest edge, crop the
        centre.
        """
        edge = self._edge

        def steps(canvas: Canvas) -> Canvas:
            before = size
            if image_size is not None:
                canvas = _resize_shortest(canvas, before, image_size)
                before = canvas.size
            return _centre(_resize_shortest(canvas, before, edge), edge, edge)

        return steps

    def prepare(self, picture: Source, image_size: int | None = None) -> FloatArray:
        """Do the steps if they are not done, normalise.

        Args:
            picture: upright.
            image_size: shortest edge that the source is brought to first, pixels. The model's own
                preparation follows, so that vectors stay in the model's space.

        Returns:
            [3, s, s] float32 with the native size s, normalised with CLIP's mean and deviation.
        """
        steps = unchanged if picture.done else self.steps(image_size, picture.size)
        return self.network.prepared(picture.image, steps, MEAN, STD)

    def together(self) -> int:
        """See the base class; on 2 cores a batch of 8 takes 0.8 to 0.95 of the single time."""
        return 8 if self.network.device == "cpu" else 32

    @staticmethod
    def finish(vector: FloatArray, normalize: bool) -> FloatArray:
        """Check a vector [dims] float32 and bring it to L2 norm 1 if asked to.

        Raises:
            ArithmeticError: the network gave infinite or undefined numbers, or all zeros.
        """
        norm = float(np.linalg.norm(vector))
        if not np.isfinite(norm) or norm == 0:
            raise ArithmeticError("the embedding is not a finite, non-zero vector")
        return vector / np.float32(norm) if normalize else vector


def tower(
    spec: ModelSpec,
    checkpoint: Checkpoint,
    part: str,
    build: Callable[..., Any],
    prefix: str | tuple[str, ...],
) -> Any:
    """One tower as a torch module.

    It is built without memory and takes the file's mapped tensors: no copy (but of 16-bit floats)
    and no kernel, unlike open_clip's ``create_model``, whose weight initialisation runs many.

    Args:
        spec: what the table of models says of it.
        checkpoint: with both towers.
        part: of the checkpoint's description.
        build: open_clip's function that makes it of that.
        prefix: of the tower's tensors.

    Raises:
        LoadError: the checkpoint does not fit the table or is damaged.
    """
    import torch

    Clip.check(spec, checkpoint)
    config, weights = Clip.FILES
    architecture = description.read(checkpoint, config)["model_cfg"]
    try:
        with torch.device("meta"):
            module = build(
                architecture["embed_dim"],
                architecture[part],
                quick_gelu=spec.activation == "quick_gelu",
            )
        with safe_open(checkpoint.path / weights, framework="pt") as file:
            names = [name for name in file.keys() if name.startswith(prefix)]  # noqa: SIM118
            tensors = {
                name.removeprefix(Clip.PREFIX): file.get_tensor(name).float() for name in names
            }
        module.load_state_dict(tensors, strict=True, assign=True)
    except Exception as error:  # a damaged file makes its parsers raise anything
        raise LoadError("the checkpoint is damaged or not an open_clip model") from error
    return module.eval()


def _compare(spec: ModelSpec, architecture: dict[str, Any]) -> None:
    """The checkpoint's own description with the table of models. Raises LoadError."""
    # open_clip 3 no longer forces QuickGELU for OpenAI's weights; with the wrong activation
    # everything loads and every vector is silently wrong.
    try:
        found = {
            "dims": architecture["embed_dim"],
            "image_size": architecture["vision_cfg"]["image_size"],
        }
    except (KeyError, TypeError) as error:
        raise LoadError("the checkpoint is damaged or not an open_clip model") from error
    if "quick_gelu" in architecture:
        found["activation"] = "quick_gelu" if architecture["quick_gelu"] else "gelu"
    for name, value in found.items():
        if value != getattr(spec, name):
            raise LoadError(
                f"the checkpoint has {name} {value}, the table of models {getattr(spec, name)}"
            )


def _centre(canvas: Canvas, width: int, height: int) -> Canvas:
    """Offsets are floored, as transformers does; torchvision rounds and differs by one pixel."""
    left, top = (canvas.size[0] - width) // 2, (canvas.size[1] - height) // 2
    return canvas.crop((left, top, left + width, top + height))


def _resize_shortest(canvas: Canvas, size: tuple[int, int], edge: int) -> Canvas:
    """Bring the shorter side to ``edge``, aspect kept; of a very long picture only the middle.

    The aspect is that of ``size``, width and height before the picture was decoded smaller.

    The centre crop that follows keeps a square, so the far ends of a thin strip never matter; but
    resized in full a file of 1x3000 pixels would need gigabytes.
    """
    width, height = canvas.size
    short, long = sorted(canvas.size)
    keep = -(-short * max(edge, _LARGEST_RESIZED // edge) // edge)
    if long > keep:
        canvas = _centre(canvas, min(width, keep), min(height, keep))
        size = canvas.size
    width, height = size
    if width <= height:
        target = edge, int(edge * height / width)
    else:
        target = int(edge * width / height), edge
    return canvas.resize(target)
