# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Depth models in the file layout of transformers: DPT (with MiDaS), ZoeDepth and Depth Pro.

``model_type`` in a checkpoint's config.json decides which subclass reads the checkpoint; each
subclass has its own file.
"""

from __future__ import annotations

import math
from importlib import import_module
from typing import Any, ClassVar, Self

import numpy as np

from app.engines.base import FloatArray, Unsupported
from app.hub.store import Checkpoint
from app.models import description, pretrained
from app.models.depth_family import DepthFamily
from app.models.description import ABSENT, Allowed
from app.models.traceable import make_traceable
from app.pictures.resampling import Interpolation
from config.models import ModelSpec

#: input sizes that a checkpoint may ask for, pixels
EDGES = range(32, 2049)

_ARCHITECTURES = {
    "dpt": "app.models.dpt:Dpt",
    "zoedepth": "app.models.zoedepth:ZoeDepth",
    "depth_pro": "app.models.depth_pro:DepthPro",
}
OFF = (False, None, ABSENT)
ON = (True, ABSENT)
#: supported values of settings in config.json that change how transformers builds a network or
#: reads its weights
COMMON: Allowed = {
    "quantization_config": (None, ABSENT),
    "backbone": (None, ABSENT),
    "use_timm_backbone": OFF,
    "use_pretrained_backbone": OFF,
    "num_channels": (3, None, ABSENT),
}
_INTERPOLATIONS: dict[object, Interpolation] = {2: "bilinear", 3: "bicubic"}


class TransformersDepth(DepthFamily):
    """One checkpoint; creating an object gives one of the subclass for its ``model_type``."""

    FILES = ("config.json", pretrained.PICTURES, "model.safetensors")
    OPTIONAL_FILES = pretrained.OPTIONAL_FILES
    SUBSTITUTES = pretrained.SUBSTITUTES
    MODEL_TYPES = frozenset(_ARCHITECTURES)
    #: name of the network's class in transformers
    CLASS: ClassVar[str]

    def __new__(cls, spec: ModelSpec, checkpoint: Checkpoint) -> Self:  # noqa: ARG004
        """Create an object of the subclass that reads the checkpoint. Raises LoadError."""
        config = description.read(checkpoint, cls.FILES[0])
        description.check(config, {"model_type": tuple(_ARCHITECTURES)}, cls.FILES[0])
        module, _, name = _ARCHITECTURES[config["model_type"]].partition(":")
        made: Self = super().__new__(getattr(import_module(module), name))
        return made

    def __init__(self, spec: ModelSpec, checkpoint: Checkpoint) -> None:
        """See the base class."""
        super().__init__(spec, checkpoint)
        self.config = self.read_json(self.FILES[0])
        #: how pictures are prepared, and where the checkpoint says it, for messages
        self.settings, self.settings_place = pretrained.picture_settings(checkpoint)
        architectures = ([self.CLASS], None, ABSENT)
        self.check_config(self.config, {"architectures": architectures, **COMMON})

    @classmethod
    def import_libraries(cls) -> None:
        """See the base class."""
        import torch  # noqa: F401
        from transformers import (  # noqa: F401
            DepthProForDepthEstimation,
            DPTForDepthEstimation,
            ZoeDepthForDepthEstimation,
        )

    def load(self) -> Any:
        """transformers' network with the checkpoint's weights. Raises LoadError."""
        import transformers

        network_class = getattr(transformers, self.CLASS)
        network = pretrained.load(network_class, self.checkpoint.path, self.CLASS)
        make_traceable(network)
        return network.eval()

    def blank(self, network: str) -> FloatArray:  # noqa: ARG002
        """See the base class; the input for a 4:3 photo of 640 x 480 pixels."""
        columns, rows = self.input_size(640, 480)
        return np.zeros((1, 3, rows, columns), np.float32)

    def check_config(self, found: dict[str, Any], allowed: Allowed, part: str = "") -> None:
        """Compare settings of config.json with the supported ones. Raises Unsupported."""
        file = self.FILES[0]
        description.check(found, allowed, f"{part} in {file}" if part else file)

    def check_settings(self, allowed: Allowed) -> None:
        """Compare the settings for preparing pictures with the supported ones.

        Raises:
            Unsupported: a setting differs.
        """
        description.check(self.settings, allowed, self.settings_place)

    def read_interpolation(self, default: Interpolation) -> Interpolation:
        """The interpolation that the checkpoint states for resizing. Raises Unsupported."""
        self.check_settings({"resample": (*_INTERPOLATIONS, ABSENT)})
        return _INTERPOLATIONS.get(self.settings.get("resample"), default)

    def read_size(self, default: tuple[int, int]) -> tuple[int, int]:
        """Width and height that pictures are resized to.

        Raises:
            LoadError: the file states anything but a supported width and height.
        """
        found = self.settings.get("size", dict(zip(("width", "height"), default, strict=True)))
        if isinstance(found, int):
            found = {"height": found, "width": found}
        sides: list[Any] = []
        if isinstance(found, dict):
            sides = [found.get(name) for name in ("width", "height")]
        if [type(each) for each in sides] != [int, int] or not set(sides) <= set(EDGES):
            raise Unsupported(
                f'{self.settings_place} has "size": {found!r:.80}; supported are a width and a '
                f"height of {EDGES.start} to {EDGES.stop - 1} pixels"
            )
        width, height = map(int, sides)
        return width, height

    def read_colours(self, scale: float = 1) -> None:
        """Set ``mean`` and ``deviation`` from the settings.

        Args:
            scale: what the stated values are divided by: 255 if they apply to levels 0 to 255.

        Raises:
            Unsupported: they are not numbers for three channels.
        """
        for name, attribute in (("image_mean", "mean"), ("image_std", "deviation")):
            found = self.settings.get(name, 0.5)
            values = [found] * 3 if isinstance(found, int | float) else found
            if not (
                isinstance(values, list)
                and [type(each) in (int, float) for each in values] == [True] * 3
                and (name == "image_mean" or min(values) > 0)
            ):
                raise Unsupported(
                    f'{self.settings_place} has "{name}": {found!r:.80}; supported are three '
                    "numbers"
                )
            setattr(self, attribute, np.array(values, np.float32) / np.float32(scale))


def depth_only(network: Any) -> Any:
    """Wraps a network of transformers so that its output is just the map, a tensor [n, h, w]."""
    import torch

    class Depth(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            depth: torch.Tensor = self.network(pixels).predicted_depth
            return depth

    return Depth().eval()


def fitted_size(
    photo: tuple[int, int], size: tuple[int, int], multiple: int, patch: int, max_patches: int
) -> tuple[int, int]:
    """Width and height of the input for a photo whose aspect ratio is kept (DPT and ZoeDepth).

    One side gets its value of ``size``: the side whose scale factor is closer to 1. Then both are
    rounded to multiples of ``multiple``. Unlike transformers, this scales panoramas down to at most
    ``max_patches`` patches, because memory grows with the square of their number. No side gets
    fewer than two patches, because OpenVINO makes a mistake when it resizes a table of positions to
    one row.
    """
    by_width, by_height = (wanted / side for wanted, side in zip(size, photo, strict=True))
    scale = by_width if abs(1 - by_width) < abs(1 - by_height) else by_height
    least = math.ceil(2 * patch / multiple)
    sides = [max(least, round(scale * side / multiple)) for side in photo]
    most = max_patches * (patch / multiple) ** 2
    if sides[0] * sides[1] > most:
        shrink = math.sqrt(most / (sides[0] * sides[1]))
        sides = [max(least, int(side * shrink)) for side in sides]
    return sides[0] * multiple, sides[1] * multiple
