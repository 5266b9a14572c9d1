# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Depth Anything V2 through transformers: a photo to a map of relative inverse depth.

Yang et al., "Depth Anything V2", NeurIPS 2024, https://arxiv.org/abs/2406.09414. The preparation
is that of transformers' DPTImageProcessor as the published checkpoints configure it.
"""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np

from app.engines.base import FloatArray, LoadError, Network
from app.engines.host_images import Levels
from app.errors import TooLarge
from app.models.base import Model
from app.models.store import Checkpoint
from app.pictures.decode import Picture
from config.models import ModelSpec

EDGE = 518  # of the published checkpoints
_EDGES = range(56, 1025)  # that a checkpoint may ask for
PATCH = 14
MAX_TOKENS = 4096  # patches; a 4:3 photo has 1813, a 16:9 one 2442
MAX_ASPECT = 20
_OVERSAMPLED = 1.4
MEAN = np.array([0.485, 0.456, 0.406], np.float32)
STD = np.array([0.229, 0.224, 0.225], np.float32)


class DepthAnything(Model):
    """One Depth Anything V2 checkpoint."""

    FILES = ("config.json", "preprocessor_config.json", "model.safetensors")
    PREPROCESS_VERSION = 1

    def __init__(self, spec: ModelSpec, checkpoint: Checkpoint, network: Network) -> None:
        """See the base class; raises LoadError."""
        super().__init__(spec, checkpoint, network)
        #: pixels that a photo's edge is brought to
        self.edge = _edge(checkpoint)

    @classmethod
    def import_torch(cls) -> None:
        """See the base class."""
        import torch  # noqa: F401
        from transformers import DepthAnythingForDepthEstimation  # noqa: F401

    @classmethod
    def module(cls, spec: ModelSpec, checkpoint: Checkpoint) -> Any:  # noqa: ARG003
        """See the base class; gives disparity [n, h, w], >= 0, larger is nearer."""
        import torch
        from transformers import DepthAnythingForDepthEstimation
        from transformers.utils import logging

        logging.disable_progress_bar()  # type: ignore[no-untyped-call]
        # It warns of a loss function, which only training needs.
        logging.set_verbosity_error()  # type: ignore[no-untyped-call]
        # Its hints know nothing of output_loading_info.
        from_pretrained: Any = DepthAnythingForDepthEstimation.from_pretrained
        try:
            network, report = from_pretrained(
                checkpoint.path,
                local_files_only=True,
                use_safetensors=True,
                dtype=torch.float32,
                output_loading_info=True,
            )
        except Exception as error:  # a damaged file makes its parsers raise anything
            raise LoadError("the checkpoint is damaged or not a Depth Anything model") from error
        # transformers fills absent tensors with random numbers and only warns.
        if report["missing_keys"] or report["mismatched_keys"]:
            raise LoadError("the checkpoint lacks tensors of a Depth Anything model")
        return _disparity(network).eval()

    @classmethod
    def input_shape(cls, spec: ModelSpec, checkpoint: Checkpoint) -> tuple[int | None, ...]:  # noqa: ARG003
        """See the base class."""
        return None, 3, None, None

    def warm_up(self) -> None:
        """See the base class; a 4:3 photo, 518x686 for the published checkpoints."""
        columns, rows = self.input_size(4 * self.edge, 3 * self.edge)
        self.network.warm_up(np.zeros((1, 3, rows, columns), np.float32))

    def input_size(self, width: int, height: int) -> tuple[int, int]:
        """Width and height of the network's input for a photo, see the function of this name."""
        return input_size(width, height, self.edge)

    def enough(self, width: int, height: int) -> tuple[int, int]:
        """How large a photo of this size must be decoded for ``prepare``; measured, see
        docs/performance.md.
        """
        columns, rows = self.input_size(width, height)
        return math.ceil(columns * _OVERSAMPLED), math.ceil(rows * _OVERSAMPLED)

    def prepare(self, picture: Picture) -> FloatArray:
        """Resize to about ``edge`` on one side, normalise.

        Returns:
            [3, h, w] float32, h and w multiples of 14, normalised with ImageNet's
            mean and deviation.
        """
        size = self.input_size(*picture.size)
        return self.network.prepared(picture.image, lambda canvas: canvas.resize(size), MEAN, STD)

    def together(self) -> int:
        """See the base class; on 2 cores two maps in one batch take longer than one by one."""
        return 1 if self.network.device == "cpu" else 4

    def finish(self, disparity: FloatArray, width: int, height: int) -> Levels:
        """Enlarge to the photo's size and spread over 0..255.

        Args:
            disparity: [h, w] float32.
            width, height: of the upright photo, pixels.

        Returns:
            [height, width] uint8, near = bright, min-max normalised; a constant map is all 128.

        Raises:
            ArithmeticError: the network gave infinite or undefined numbers.
        """
        if not np.isfinite(disparity).all():
            raise ArithmeticError("the map has infinite or undefined values")
        return self.network.spread(disparity, width, height)


def _disparity(network: Any) -> Any:
    """The network's own forward pass, in terms that hold for every shape of input.

    transformers gives the head its output size as Python numbers, and a trace would keep those of
    its example; here they come from the input.
    """
    import torch
    import torch.nn.functional as F

    class Disparity(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            size = pixels.shape[2:]
            backbone, neck, head = self.network.backbone, self.network.neck, self.network.head
            features = backbone.forward_with_filtered_kwargs(pixels).feature_maps
            rows, columns = size[0] // head.patch_size, size[1] // head.patch_size
            fused = neck(features, rows, columns)[head.head_in_index]
            enlarged = F.interpolate(
                head.conv1(fused), size=size, mode="bilinear", align_corners=True
            )
            last = head.activation1(head.conv2(enlarged))
            # Always in float32: bf16 has fewer steps than a map has levels.
            weight, bias = head.conv3.weight.float(), head.conv3.bias.float()
            disparity = F.conv2d(last.float(), weight, bias)
            nearness: torch.Tensor = head.activation2(disparity) * head.max_depth
            return nearness.squeeze(1)

    return Disparity()


def _edge(checkpoint: Checkpoint) -> int:
    """The size that the checkpoint wants, which is a square in DPTImageProcessor's settings."""
    try:
        settings = json.loads((checkpoint.path / "preprocessor_config.json").read_bytes())
        height, width = settings["size"]["height"], settings["size"]["width"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise LoadError("preprocessor_config.json is damaged") from error
    if height != width or height not in _EDGES:
        raise LoadError(
            f"preprocessor_config.json wants {width}x{height}; known are squares "
            f"of {_EDGES.start} to {_EDGES.stop - 1} pixels"
        )
    return int(height)


def input_size(width: int, height: int, edge: int = EDGE) -> tuple[int, int]:
    """Width and height of the network's input for a photo (transformers' DPTImageProcessor).

    The aspect is kept as well as multiples of the patch size allow; of the two scales that bring
    one side to ``edge``, the one closer to 1 is taken. Unlike there, a panorama is scaled down to
    MAX_TOKENS patches, since time and memory grow with their square.

    Raises:
        TooLarge: longer than MAX_ASPECT times its height, or the other way round.
    """
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise TooLarge(
            f"The image is {width}x{height}; "
            f"depth needs an aspect ratio of at most {MAX_ASPECT}:1, so crop it first"
        )
    by_height, by_width = edge / height, edge / width
    scale = by_width if abs(1 - by_width) < abs(1 - by_height) else by_height
    columns = max(1, round(scale * width / PATCH))
    rows = max(1, round(scale * height / PATCH))
    if columns * rows > MAX_TOKENS:
        shrink = math.sqrt(MAX_TOKENS / (columns * rows))
        columns, rows = max(1, int(columns * shrink)), max(1, int(rows * shrink))
    return columns * PATCH, rows * PATCH
