# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Depth Pro through transformers: estimates inverse depth and the camera's field of view.

Bochkovskii et al., "Depth Pro: Sharp Monocular Metric Depth in Less Than a Second", ICLR 2025,
https://arxiv.org/abs/2410.02073. Images are preprocessed as by transformers'
DepthProImageProcessor. The network gives inverse depth as if the camera's focal length were equal
to the photo's width; the field of view, or a known focal length, turns that into metres.
"""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np

from app.engines.base import FloatArray, Unsupported
from app.errors import BadRequest
from app.hub.store import Checkpoint
from app.models import description
from app.models.base import Picture
from app.models.depth_family import check_aspect
from app.models.description import ABSENT, Allowed
from app.models.distance import NEAREST_METRES, inverse
from app.models.point_sampling import Axis, sampled
from app.models.transformers_depth import ON, TransformersDepth
from app.pictures.canvas import ImageWork, Steps, unchanged
from config.models import ModelSpec

# Limits of the inverse depth, 1 / metres, as in transformers.
_FARTHEST, _NEAREST = 1e-4, 1e4
_PROCESSORS = ("DepthProImageProcessor", "DepthProImageProcessorFast", None, ABSENT)
_PREPARATION: Allowed = {
    "image_processor_type": _PROCESSORS,
    "do_resize": ON,
    "resample": (2, ABSENT),  # bilinear
    "do_rescale": ON,
    "rescale_factor": (1 / 255, ABSENT),
    "do_normalize": ON,
}
_PARTS = ("image_model_config", "patch_model_config", "fov_model_config")
_DINOV2: Allowed = {"model_type": ("dinov2", ABSENT), "num_channels": (3, ABSENT)}


class DepthPro(TransformersDepth):
    """One Depth Pro checkpoint."""

    CLASS = "DepthProForDepthEstimation"
    is_metric = True

    def __init__(self, spec: ModelSpec, checkpoint: Checkpoint) -> None:
        """See the base class."""
        super().__init__(spec, checkpoint)
        for name in _PARTS:
            part = description.part(self.config, name, self.FILES[0])
            self.check_config(part, _DINOV2, name)
        self.check_settings(_PREPARATION)
        self.read_colours()
        width, height = self.read_size((1536, 1536))
        # A file may omit these values; then transformers' defaults apply.
        smallest = min(self.config.get("scaled_images_ratios", [0.25, 0.5, 1]))
        patch = self.config.get("patch_size", 384)
        if width != height or width * smallest != patch:
            raise Unsupported(
                f'{self.settings_place} has "size": {width}x{height}; supported is a square whose '
                f"smallest copy ({smallest}) is one patch of {patch} pixels"
            )
        #: width and height of the input
        self.edge = width

    def module(self, network: str) -> Any:  # noqa: ARG002 - there is only one
        """See the base class; the output is [n, 2, h, w]: inverse depth and the field of view.

        The second channel has the same value everywhere: the horizontal field of view in degrees,
        or 0 if the network does not estimate it.
        """
        return _module(self.load())

    def input_shape(self, network: str) -> tuple[int | None, ...]:  # noqa: ARG002
        """See the base class; one photo at a time: the network makes a batch of its patches."""
        return 1, 3, self.edge, self.edge

    def input_size(self, width: int, height: int) -> tuple[int, int]:
        """See the base class."""
        check_aspect(width, height)
        return self.edge, self.edge

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
        rows, columns = (Axis.even(side, self.edge) for side in pixels.shape[:2])
        return sampled(pixels, rows, columns, self.mean, self.deviation)

    def crop(self, output: FloatArray, size: tuple[int, int]) -> FloatArray:
        """See the base class; resized to the photo's size, but at most to twice the input's.

        The resize is bilinear, as in transformers.
        """
        width, height = (min(side, 2 * self.edge) for side in size)
        nearness = cv2.resize(output[0], (width, height), interpolation=cv2.INTER_LINEAR)
        return np.stack((nearness, np.full_like(nearness, output[1].flat[0]))).astype(np.float32)

    def disparity(self, output: FloatArray) -> FloatArray:
        """See the base class; 1 / metres if the network estimates the field of view."""
        focal = self.focal_length(output)
        nearness: FloatArray = output[0]
        return nearness if focal is None else inverse(self.metres(output, focal), NEAREST_METRES)

    def metres(self, output: FloatArray, focal_length: float | None) -> FloatArray:
        """See the base class."""
        focal = focal_length or self.focal_length(output)
        if focal is None:
            raise BadRequest(
                "this model needs the camera's focal length to give metres",
                code="focal_length_needed",
            )
        nearness = output[0] * np.float32(self.edge / focal)
        metres: FloatArray = 1 / nearness.clip(np.float32(_FARTHEST), np.float32(_NEAREST))
        return metres

    def focal_length(self, output: FloatArray) -> float | None:
        """See the base class; computed from the horizontal field of view."""
        degrees = float(output[1].flat[0])
        if not 0 < degrees < 180:
            return None
        return 0.5 * self.edge / math.tan(math.radians(degrees) / 2)


def _module(network: Any) -> Any:
    """Wraps a network so that it gives the field of view as a second channel."""
    import torch

    class InverseDepth(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            found = self.network(pixels)
            depth = found.predicted_depth
            view = torch.zeros_like(depth[:, 0, 0])
            if found.field_of_view is not None:
                view = found.field_of_view
            return torch.stack((depth, view[:, None, None].expand_as(depth)), 1)

    return InverseDepth().eval()
