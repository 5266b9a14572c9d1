# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Depth Anything 3 for one photo: estimates distance, which one checkpoint gives in metres.

Lin et al., "Depth Anything 3: Recovering the Visual Space from Any Views", 2025,
https://arxiv.org/abs/2511.10647. The any-view models (Small, Base, Large) also estimate cameras and
rays. The tensors for that are not read, because the depth of one photo does not need them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from app.engines.base import FloatArray, LoadError, Unsupported
from app.errors import BadRequest
from app.hub.store import Checkpoint
from app.models import depth_anything_3_network, description, tensors
from app.models.depth_anything import MEAN, STD
from app.models.depth_anything_3_network import MAX_PATCHES, PATCH, Plan
from app.models.depth_family import DepthFamily, check_aspect
from app.models.description import ABSENT, Allowed
from app.models.distance import inverse, nearest_of
from config.models import ModelSpec

EDGE = MAX_PATCHES * PATCH  # longer side of the network's input, pixels
# A pixel is sky if the second map has at least the value _SKY there. The mask of the sky is ignored
# if at most _FEW pixels are sky, or all but at most _FEW.
_SKY, _FEW = 0.3, 10
_SKY_QUANTILE = 0.99
_METRIC = "da3metric-large"
_METRIC_FOCAL_LENGTH = 300  # pixels; for a camera with this focal length the output is in metres

_ANY_VIEW = {"out_layers": [5, 7, 9, 11], "alt_start": 4, "qknorm_start": 4, "rope_start": 4}
_ANY_VIEW_LARGE = {"out_layers": [11, 15, 19, 23], "alt_start": 8, "qknorm_start": 8}
_ONE_VIEW = {"out_layers": [4, 11, 17, 23], "cat_token": False}
# Settings of the published checkpoints by "model_name", for a config.json without "config". The
# published code, too, derives the settings from that name alone.
_DUAL, _SINGLE = {"__object__": {"name": "DualDPT"}}, {"__object__": {"name": "DPT"}}
_PUBLISHED: dict[str, dict[str, dict[str, Any]]] = {
    "da3-small": {"net": {"name": "vits", **_ANY_VIEW}, "head": _DUAL},
    "da3-base": {"net": {"name": "vitb", **_ANY_VIEW}, "head": _DUAL},
    "da3-large": {"net": {"name": "vitl", **_ANY_VIEW_LARGE, "rope_start": 8}, "head": _DUAL},
    "da3mono-large": {"net": {"name": "vitl", **_ONE_VIEW}, "head": _SINGLE},
    _METRIC: {"net": {"name": "vitl", **_ONE_VIEW}, "head": _SINGLE},
}

# Supported values of config.json. A value may be absent only if the published code's default is the
# supported one.
_MODEL: Allowed = {"model_name": tuple(_PUBLISHED)}
_NET: Allowed = {"name": ("vits", "vitb", "vitl"), "cat_token": (True, False, ABSENT)}
_HEAD: Allowed = {"patch_size": (PATCH, ABSENT), "activation": ("exp", ABSENT)}
_HEAD_ALSO: dict[str, Allowed] = {
    "DualDPT": {"output_dim": (2, ABSENT), "pos_embed": (True, ABSENT)},
    "DPT": {
        "output_dim": (1, ABSENT),
        "pos_embed": (False, ABSENT),
        "use_sky_head": (True, False, ABSENT),
        "sky_activation": ("relu", ABSENT),
        "use_ln_for_heads": (False, ABSENT),
        "norm_type": ("idt", ABSENT),
    },
}


class DepthAnything3(DepthFamily):
    """One Depth Anything 3 checkpoint."""

    FILES = ("config.json", "model.safetensors")
    NETWORKS: ClassVar[dict[str, tuple[str, ...]]] = {"image": ("model.backbone.", "model.head.")}

    def __init__(self, spec: ModelSpec, checkpoint: Checkpoint) -> None:
        """See the base class."""
        super().__init__(spec, checkpoint)
        file = self.FILES[0]
        config = self.read_json(file)
        description.check(config, _MODEL, file)
        name = config["model_name"]
        settings = description.part(config, "config", file) or _PUBLISHED[name]
        self._plan = _plan(settings, f"config in {file}")
        self.is_metric = name == _METRIC
        self.edge = EDGE
        self.mean, self.deviation = MEAN, STD

    @classmethod
    def recognises(cls, files: Mapping[str, Mapping[str, Any]]) -> bool:
        """See the base class."""
        return files.get(cls.FILES[0], {}).get("model_name") in _PUBLISHED

    @classmethod
    def import_libraries(cls) -> None:
        """See the base class."""
        import torch  # noqa: F401

    def module(self, network: str) -> Any:  # noqa: ARG002 - there is only one
        """See the base class and ``depth_anything_3_network.build``."""
        found = tensors.read(self.checkpoint.path / self.FILES[1], _is_read)
        if any("register_tokens" in name for name in found):
            raise Unsupported("register tokens are not supported")
        named = {name.removeprefix("model."): tensor for name, tensor in found.items()}
        return depth_anything_3_network.build(named, self._plan)

    def blank(self, network: str) -> FloatArray:  # noqa: ARG002
        """See the base class; the input for a 4:3 photo, 504x378."""
        columns, rows = self.input_size(4, 3)
        return np.zeros((1, 3, rows, columns), np.float32)

    def input_shape(self, network: str) -> tuple[int | None, ...]:  # noqa: ARG002
        """See the base class; width and height are dynamic."""
        return None, 3, None, None

    def max_batch(self, network: str, device: str) -> int:  # noqa: ARG002
        """See the base class; as with Depth Anything V2, batches are no faster on a CPU."""
        return 1 if device == "cpu" else 4

    def input_size(self, width: int, height: int) -> tuple[int, int]:
        """See the base class.

        The longer side becomes EDGE, and the shorter one follows from the aspect ratio, rounded to
        a multiple of the patch size. Nothing is cropped, so the map covers the whole photo.
        """
        check_aspect(width, height)
        scale = EDGE / max(width, height)
        columns, rows = (_whole_patches(round(edge * scale)) for edge in (width, height))
        return columns, rows

    def input_scale(self, width: int, height: int) -> float:
        """See the base class.

        This is the mean of the scales of width and height, as in the published code. They differ
        because sides are rounded to patches, and a photo turned by 90 degrees must get the same
        metres.
        """
        columns, rows = self.input_size(width, height)
        return (columns / width + rows / height) / 2

    def disparity(self, output: FloatArray) -> FloatArray:
        """See the base class; sky is 0, infinitely far."""
        distance, sky = self._parts(output)
        disparity = inverse(distance, nearest_of(distance if sky is None else distance[~sky]))
        if sky is not None:
            disparity[sky] = 0
        return disparity

    def metres(self, output: FloatArray, focal_length: float | None) -> FloatArray:
        """See the base class; as in the published code, sky gets the rest's 99th percentile."""
        if not self.is_metric:
            return super().metres(output, focal_length)
        if focal_length is None:
            raise BadRequest(
                f"Metres from {self.spec.title} need the camera's focal length, "
                "which neither the request nor the photo states",
                code="focal_length_needed",
            )
        distance, sky = self._parts(output)
        if sky is not None:
            distance = distance.copy()
            distance[sky] = np.quantile(distance[~sky], _SKY_QUANTILE)
        return distance * np.float32(focal_length / _METRIC_FOCAL_LENGTH)

    def _parts(self, output: FloatArray) -> tuple[FloatArray, Any]:
        """Distance, and a mask of the sky; None if the photo shows almost no or almost only sky."""
        if not self._plan.has_sky:
            return output, None
        distance, sky = output[0], output[1] >= _SKY
        return distance, sky if _FEW < np.count_nonzero(sky) < sky.size - _FEW else None


def _is_read(name: str) -> bool:
    """Whether depth needs a tensor; those with "_aux" in their names are for rays."""
    return name.startswith(DepthAnything3.NETWORKS["image"]) and "_aux" not in name


def _whole_patches(edge: int) -> int:
    """The nearest multiple of the patch size, at least one patch; halves are rounded up."""
    return max(1, (edge + PATCH // 2) // PATCH) * PATCH


def _plan(settings: dict[str, Any], where: str) -> Plan:
    """The variant that the settings describe. Raises LoadError if it is not supported."""
    net = description.part(settings, "net", where)
    head = description.part(settings, "head", where)
    description.check(_object(settings), {"name": ("DepthAnything3Net", ABSENT)}, where)
    description.check(_object(net), {"name": ("DinoV2", ABSENT)}, f"net of {where}")
    description.check(net, _NET, f"net of {where}")
    description.check(_object(head), {"name": tuple(_HEAD_ALSO)}, f"head of {where}")
    kind = _object(head)["name"]
    allowed: Allowed = {**_HEAD, **_HEAD_ALSO[kind], "down_ratio": (1, ABSENT)}
    description.check(head, allowed, f"head of {where}")
    layers = net.get("out_layers")
    starts = [net.get(f"{name}_start", -1) for name in ("alt", "qknorm", "rope")]
    if not isinstance(layers, list) or not all(type(each) is int for each in (*layers, *starts)):
        raise LoadError(f"net of {where} is damaged")
    if len(layers) != 4 or layers != sorted(set(layers)):
        raise Unsupported(
            f'net of {where} has "out_layers": {layers}; supported are four, in order'
        )
    return Plan(
        out_layers=tuple(layers),
        alt_start=starts[0],
        qknorm_start=starts[1],
        rope_start=starts[2],
        cat_token=net.get("cat_token", True),
        has_planes=kind == "DualDPT",
        has_sky=kind == "DPT" and head.get("use_sky_head", True),
    )


def _object(settings: dict[str, Any]) -> dict[str, Any]:
    """The part of the settings that names a class of the published code."""
    return description.part(settings, "__object__", "config.json")
