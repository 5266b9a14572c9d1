# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""ZoeDepth through transformers: estimates distance in metres.

Bhat et al., "ZoeDepth: Zero-shot Transfer by Combining Relative and Metric Depth", 2023,
https://arxiv.org/abs/2302.12288. Images are preprocessed as by transformers'
ZoeDepthImageProcessor: the photo gets a mirrored border, and the result is resized. The border is
removed from the output.
"""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np

from app.engines.base import FloatArray, Unsupported
from app.hub.store import Checkpoint
from app.models import description
from app.models.base import Picture
from app.models.borders import without_border
from app.models.depth_family import check_aspect
from app.models.description import ABSENT, Allowed
from app.models.distance import NEAREST_METRES, inverse
from app.models.point_sampling import Axis, sampled
from app.models.transformers_depth import (
    ON,
    TransformersDepth,
    depth_only,
    fitted_size,
)
from app.pictures.canvas import ImageWork, Steps, unchanged
from config.models import ModelSpec

_MAX_PATCHES = 2048  # BEiT needs memory for a number for every pair of patches
_PROCESSORS = (
    "ZoeDepthImageProcessor",
    "ZoeDepthImageProcessorFast",
    "ZoeDepthImageProcessorPil",
    None,
    ABSENT,
)
_PREPARATION: Allowed = {
    "image_processor_type": _PROCESSORS,
    "do_resize": ON,
    "resample": (2, ABSENT),  # bilinear
    "keep_aspect_ratio": ON,
    "do_pad": (True, False, ABSENT),
    "do_rescale": ON,
    "rescale_factor": (1 / 255, ABSENT),
    "do_normalize": ON,
}
_BACKBONE: Allowed = {
    "model_type": ("beit",),
    "num_channels": (3, ABSENT),
    "reshape_hidden_states": (False,),
    "add_fpn": (False, None, ABSENT),
}
_HEAD: Allowed = {"bin_centers_type": ("softplus", "normed", ABSENT)}
# transformers' classifier, which chooses one of two heads, always has four layers.
_HEADS: Allowed = {"num_patch_transformer_layers": (4,)}


class ZoeDepth(TransformersDepth):
    """One ZoeDepth checkpoint."""

    CLASS = "ZoeDepthForDepthEstimation"
    is_metric = True

    def __init__(self, spec: ModelSpec, checkpoint: Checkpoint) -> None:
        """See the base class."""
        super().__init__(spec, checkpoint)
        part = description.part(self.config, "backbone_config", self.FILES[0])
        self.check_config(part, _BACKBONE, "backbone_config")
        self.check_config(self.config, _HEAD)
        self._check_heads()
        self.check_settings(_PREPARATION)
        self.read_colours()
        self.size = self.read_size((512, 384))
        self.has_border = self.settings.get("do_pad", True)
        self.patch = int(part.get("patch_size", 16))
        # transformers' default is 1 / 32, which is a mistake; the published files have 32.
        self.check_settings({"ensure_multiple_of": tuple(self.patch * n for n in range(1, 9))})
        self.multiple = int(self.settings["ensure_multiple_of"])

    def module(self, network: str) -> Any:  # noqa: ARG002 - there is only one
        """See the base class; the output is the distance in metres, [n, h, w]."""
        module = self.load()
        module.metric_head = _in_float32(module.metric_head)
        return depth_only(module)

    def input_shape(self, network: str) -> tuple[int | None, ...]:  # noqa: ARG002
        """See the base class; width and height are dynamic."""
        return None, 3, None, None

    def max_batch(self, network: str, device: str) -> int:  # noqa: ARG002
        """See the base class; on a 2-core CPU a batch of two is slower than two single runs."""
        return 1 if device == "cpu" else 4

    def input_size(self, width: int, height: int) -> tuple[int, int]:
        """See the base class; the size includes the border."""
        check_aspect(width, height)
        across, down = self._border(width, height)
        photo = width + 2 * across, height + 2 * down
        return fitted_size(photo, self.size, self.multiple, self.patch, _MAX_PATCHES)

    def decode_size(self, width: int, height: int) -> tuple[int, int]:
        """See the base class; the full size, because transformers samples single pixels of it."""
        return width, height

    def steps(self, size: tuple[int, int]) -> Steps:
        """See the base class; none, because ``prepare`` resizes itself. Raises TooLarge."""
        check_aspect(*size)
        return unchanged

    def prepare(self, picture: Picture, work: ImageWork) -> FloatArray:  # noqa: ARG002
        """See the base class."""
        pixels = np.asarray(picture.image)
        height, width, _ = pixels.shape
        across, down = self._border(width, height)
        columns, rows = self.input_size(width, height)
        return sampled(
            pixels,
            Axis.between_corners(height, down, rows),
            Axis.between_corners(width, across, columns),
            self.mean,
            self.deviation,
        )

    def crop(self, output: FloatArray, size: tuple[int, int]) -> FloatArray:
        """See the base class."""
        across, down = self._border(*size)
        return without_border(output, size, (across, down, across, down))

    def disparity(self, output: FloatArray) -> FloatArray:
        """See the base class."""
        return inverse(output, NEAREST_METRES)

    def metres(self, output: FloatArray, focal_length: float | None) -> FloatArray:  # noqa: ARG002
        """See the base class; this model ignores the focal length."""
        return np.maximum(output, 0)  # the bicubic sampling of ``crop`` can go below 0

    def _border(self, width: int, height: int) -> tuple[int, int]:
        """Widths of the border at left and right, and at top and bottom, in pixels of the photo."""
        if not self.has_border:
            return 0, 0
        return int(math.sqrt(width / 2) * 3), int(math.sqrt(height / 2) * 3)

    def _check_heads(self) -> None:
        """Raise Unsupported unless there is one head, or two with different names."""
        heads = self.config.get("bin_configurations") or [{}]
        names = [each.get("name") for each in heads]
        if len(heads) > 2 or (len(heads) == 2 and len({*names, None}) != 3):
            raise Unsupported(
                f'{self.FILES[0]} has "bin_configurations": {json.dumps(heads)[:80]}; supported is '
                "one head, or two with different names"
            )
        if len(heads) == 2:
            self.check_config(self.config, _HEADS)


def _in_float32(head: Any) -> Any:
    """Wraps a part of a network so that it always computes in float32.

    In bfloat16, its exponentials and logarithms would change a map by several levels.
    """
    import torch

    class Float32(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = head

        def _apply(self, fn: Any, recurse: bool = True) -> Any:
            """Moves the weights to another device, but keeps their type."""
            keep = lambda tensor: fn(tensor).to(tensor.dtype)  # noqa: E731
            return super()._apply(keep, recurse)  # type: ignore[no-untyped-call]

        def forward(self, **inputs: Any) -> Any:
            blocks = [each.float() for each in inputs.pop("feature_blocks")]
            exact = {name: each.float() for name, each in inputs.items()}
            return self.head(feature_blocks=blocks, **exact)

    return Float32()
