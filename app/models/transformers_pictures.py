# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Interprets the settings by which a checkpoint in transformers' layout has its pictures prepared.

They name one of transformers' image processors, and may omit whatever equals the defaults of that
class.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

from app.engines.base import FloatArray, Unsupported
from app.models import description
from app.models.description import ABSENT, Allowed
from app.pictures.resampling import Interpolation

_CLIP = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
_HALF = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_CROPPED = {"size": {"shortest_edge": 224}, "crop_size": 224, "do_center_crop": True, "resample": 3}
_SQUASHED = {"size": {"height": 224, "width": 224}, "do_center_crop": False}
#: Defaults by processor. Old checkpoints write "FeatureExtractor" instead of "ImageProcessor"; new
#: ones may append "Fast" or "Pil".
_DEFAULTS: dict[str, dict[str, Any]] = {
    "CLIPImageProcessor": {**_CROPPED, "image_mean": _CLIP[0], "image_std": _CLIP[1]},
    "ChineseCLIPImageProcessor": {**_CROPPED, "image_mean": _CLIP[0], "image_std": _CLIP[1]},
    "BitImageProcessor": {**_CROPPED, "image_mean": _CLIP[0], "image_std": _CLIP[1]},
    "SiglipImageProcessor": {
        **_SQUASHED,
        "resample": 3,
        "image_mean": _HALF[0],
        "image_std": _HALF[1],
    },
    "DINOv3ViTImageProcessor": {
        **_SQUASHED,
        "resample": 2,
        "image_mean": _IMAGENET[0],
        "image_std": _IMAGENET[1],
    },
}
#: Processors that resize to a square if "size" is a single number; others resize the shorter side.
_SQUARE = ("DINOv3ViTImageProcessor",)
_FLAGS = ("do_center_crop", "do_normalize", "default_to_square")
_INTERPOLATIONS: dict[object, Interpolation] = {1: "lanczos", 2: "bilinear", 3: "bicubic"}
_SUPPORTED: Allowed = {
    "do_resize": (True, ABSENT),
    "do_rescale": (True, ABSENT),
    "rescale_factor": (1 / 255, ABSENT),
    "do_pad": (False, None, ABSENT),
    "resample": (*_INTERPOLATIONS, ABSENT),
    "do_center_crop": (True, False, None, ABSENT),
    "do_normalize": (True, False, None, ABSENT),
    "use_square_size": (False, None, ABSENT),
}


@dataclass(frozen=True)
class Preparation:
    """How a picture becomes the input of a network; ``EmbeddingFamily`` explains the fields."""

    image_size: int
    resize_edge: int
    resize_mode: Literal["shortest", "squash"]
    interpolation: Interpolation
    mean: FloatArray
    deviation: FloatArray


def read(found: Mapping[str, Any], default_processor: str, where: str) -> Preparation:
    """Interpret the settings of a checkpoint.

    Args:
        found: the settings, from ``pretrained.picture_settings``.
        default_processor: the image processor of settings that do not name one.
        where: the place of the settings, for messages.

    Raises:
        Unsupported: the settings ask for a way of preparing pictures that is not supported.
    """
    processor = _processor(found, default_processor, where)
    description.check(found, _SUPPORTED, where)
    # transformers takes null for these as false, not as its default.
    off = {name: False for name in _FLAGS if found.get(name, ABSENT) is None}
    given = {name: value for name, value in found.items() if value is not None} | off
    settings = {**_DEFAULTS[processor], **given}
    size, edge = settings["size"], None
    if isinstance(size, int):
        is_square = settings.get("default_to_square", processor in _SQUARE)
        size = _square(size) if is_square else {"shortest_edge": size}
    mode: Literal["shortest", "squash"] = "squash"
    if isinstance(size, dict) and set(size) == {"shortest_edge"}:
        mode, edge = "shortest", size["shortest_edge"]
    elif isinstance(size, dict):
        edge = _edge(size)
    if not isinstance(edge, int) or edge < 1:
        raise Unsupported(f'{where} has "size": {size}; supported are a shortest edge and squares')
    crop: Any = edge
    if settings["do_center_crop"]:
        crop = settings.get("crop_size", edge)
        crop = _edge(crop) if isinstance(crop, dict) else crop
        if not isinstance(crop, int) or not 0 < crop <= edge:
            raise Unsupported(
                f'{where} has "crop_size": {settings.get("crop_size")}; supported are squares '
                f"of at most {edge} pixels, which pictures are resized to before"
            )
    elif mode == "shortest":
        raise Unsupported(
            f"{where} wants pictures that are neither cropped nor resized to a square"
        )
    mean, deviation = settings["image_mean"], settings["image_std"]
    if settings.get("do_normalize") is False:
        mean, deviation = (0, 0, 0), (1, 1, 1)
    values = description.channels(deviation, f"image_std in {where}")
    if not (values > 0).all():
        raise Unsupported(f"image_std in {where} must be above 0")
    return Preparation(
        image_size=crop,
        resize_edge=edge,
        resize_mode=mode,
        interpolation=_INTERPOLATIONS[settings["resample"]],
        mean=description.channels(mean, f"image_mean in {where}"),
        deviation=values,
    )


def _processor(found: Mapping[str, Any], default: str, where: str) -> str:
    stated = found.get("image_processor_type") or found.get("feature_extractor_type") or default
    name = str(stated).removesuffix("Fast").removesuffix("Pil")
    name = name.replace("FeatureExtractor", "ImageProcessor")
    if name not in _DEFAULTS:
        known = " or ".join(_DEFAULTS)
        raise Unsupported(f"{where} names the image processor {stated}; supported is {known}")
    return name


def _square(edge: int) -> dict[str, int]:
    return {"height": edge, "width": edge}


def _edge(size: Mapping[str, Any]) -> int | None:
    """The edge of a square; None if the size is not that of a square."""
    edge = cast(object, size.get("height"))
    square = isinstance(edge, int) and size == _square(edge)
    return edge if square and isinstance(edge, int) else None
