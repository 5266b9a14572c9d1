# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Depth Anything V1 and V2 through transformers: inverse depth, or metres, from a photo.

Yang et al., "Depth Anything", CVPR 2024, https://arxiv.org/abs/2401.10891, and "Depth Anything V2",
NeurIPS 2024, https://arxiv.org/abs/2406.09414. Images are preprocessed as by transformers'
DPTImageProcessor with the published checkpoints' settings.
"""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np

from app.engines.base import FloatArray, LoadError, Unsupported
from app.hub.store import Checkpoint
from app.models import description, pretrained
from app.models.depth_family import DepthFamily, check_aspect
from app.models.description import ABSENT, Allowed
from app.models.distance import NEAREST_METRES, inverse
from config.models import ModelSpec

EDGE = 518  # input size of the published checkpoints, pixels
_EDGES = range(56, 1025)  # input sizes that a checkpoint may ask for
PATCH = 14
MAX_TOKENS = 4096  # largest number of patches of an input; 4:3 photos have 1813, 16:9 photos 2442
MEAN = np.array([0.485, 0.456, 0.406], np.float32)
STD = np.array([0.229, 0.224, 0.225], np.float32)

_OFF = (False, None, ABSENT)
_ON = (True, ABSENT)
_PROCESSORS = ("DPTImageProcessor", "DPTImageProcessorFast", "DPTFeatureExtractor", None, ABSENT)
# Supported values of config.json.
_NETWORK: Allowed = {
    "model_type": ("depth_anything", ABSENT),
    "architectures": (["DepthAnythingForDepthEstimation"], None, ABSENT),
    "depth_estimation_type": ("relative", "metric", ABSENT),
    "patch_size": (PATCH, ABSENT),
    "backbone": (None, ABSENT),
    "use_timm_backbone": _OFF,
    "quantization_config": (None, ABSENT),
}
# transformers multiplies every output by "max_depth", which has a meaning only for metric models.
_RELATIVE: Allowed = {"max_depth": (1, None, ABSENT)}
_BACKBONE: Allowed = {
    "model_type": ("dinov2", ABSENT),
    "patch_size": (PATCH, ABSENT),
    "num_channels": (3, ABSENT),
}
# Supported settings for preparing pictures. A value may be absent only if DPTImageProcessor's
# default is the supported one.
_PREPARATION: Allowed = {
    "image_processor_type": _PROCESSORS,
    "feature_extractor_type": _PROCESSORS,
    "do_resize": _ON,
    "resample": (3, ABSENT),  # bicubic
    "keep_aspect_ratio": (True,),
    "ensure_multiple_of": (PATCH,),
    "do_center_crop": _OFF,
    "do_pad": _OFF,
    "do_rescale": _ON,
    "rescale_factor": (1 / 255, ABSENT),
    "do_normalize": _ON,
    "image_mean": (MEAN.tolist(),),
    "image_std": (STD.tolist(),),
}


class DepthAnything(DepthFamily):
    """One Depth Anything checkpoint.

    The network of a relative model gives disparity. That of a metric model gives distance as a
    fraction of the farthest distance that the model was trained for, from 0 to 1.
    """

    FILES = ("config.json", pretrained.PICTURES, "model.safetensors")
    OPTIONAL_FILES = pretrained.OPTIONAL_FILES
    SUBSTITUTES = pretrained.SUBSTITUTES
    MODEL_TYPES = frozenset({"depth_anything"})

    def __init__(self, spec: ModelSpec, checkpoint: Checkpoint) -> None:
        """See the base class; accepts checkpoints with a DINOv2 backbone."""
        super().__init__(spec, checkpoint)
        network = self.FILES[0]
        config = self.read_json(network)
        backbone = description.part(config, "backbone_config", network)
        settings, where = pretrained.picture_settings(checkpoint)
        description.check(config, _NETWORK, network)
        description.check(backbone, _BACKBONE, f"backbone_config in {network}")
        description.check(settings, _PREPARATION, where)
        self.is_metric = config.get("depth_estimation_type") == "metric"
        #: the distance in metres that an output of 1 means; None for a relative model
        self.max_depth = _max_depth(config) if self.is_metric else None
        if not self.is_metric:
            description.check(config, _RELATIVE, network)
        #: pixels to which one side of a photo is resized, see ``input_size``
        self.edge = _edge(settings, where)
        self.mean, self.deviation = MEAN, STD

    @classmethod
    def import_libraries(cls) -> None:
        """See the base class."""
        import torch  # noqa: F401
        from transformers import DepthAnythingForDepthEstimation  # noqa: F401

    def module(self, network: str) -> Any:  # noqa: ARG002 - there is only one
        """See the base class; the output is [n, h, w], with the meaning that the class states."""
        from transformers import DepthAnythingForDepthEstimation

        path, name = self.checkpoint.path, "a Depth Anything model"
        module = pretrained.load(DepthAnythingForDepthEstimation, path, name)
        return _traceable(module).eval()

    def blank(self, network: str) -> FloatArray:  # noqa: ARG002
        """See the base class; the input for a 4:3 photo, 518x686 with the published checkpoints."""
        columns, rows = self.input_size(4 * self.edge, 3 * self.edge)
        return np.zeros((1, 3, rows, columns), np.float32)

    def input_shape(self, network: str) -> tuple[int | None, ...]:  # noqa: ARG002
        """See the base class; width and height are dynamic."""
        return None, 3, None, None

    def max_batch(self, network: str, device: str) -> int:  # noqa: ARG002
        """See the base class; on a 2-core CPU a batch of two is slower than two single runs."""
        return 1 if device == "cpu" else 4

    def input_size(self, width: int, height: int) -> tuple[int, int]:
        """See the module's function ``input_size``."""
        return input_size(width, height, self.edge)

    def disparity(self, output: FloatArray) -> FloatArray:
        """See the base class."""
        return inverse(self.metres(output, None), NEAREST_METRES) if self.is_metric else output

    def metres(self, output: FloatArray, focal_length: float | None) -> FloatArray:  # noqa: ARG002
        """See the base class; these models ignore the focal length."""
        assert self.max_depth is not None
        return output * np.float32(self.max_depth)


def _traceable(network: Any) -> Any:
    """Wraps a network so that its traced forward pass is correct for every input size.

    transformers passes the head its output size as Python integers, which tracing would bake in as
    constants. This forward pass takes the size from the input tensor instead.
    """
    import torch
    import torch.nn.functional as F

    class Traceable(torch.nn.Module):
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
            # Always in float32, because bfloat16 is coarser than the levels of an 8-bit map.
            weight, bias = head.conv3.weight.float(), head.conv3.bias.float()
            # A ReLU, or a sigmoid in metric models. ``DepthAnything.metres`` applies max_depth.
            output: torch.Tensor = head.activation2(F.conv2d(last.float(), weight, bias))
            return output.squeeze(1)

    return Traceable()


def _max_depth(config: dict[str, Any]) -> int:
    """The farthest distance of a metric model, metres: 20 or 80 in the published checkpoints."""
    value = config.get("max_depth")
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        says = (
            'lacks "max_depth"' if value is None else f'has "max_depth": {json.dumps(value)[:80]}'
        )
        raise Unsupported(
            f"{DepthAnything.FILES[0]} {says}; supported for a metric model are whole numbers of "
            "metres, such as 20"
        )
    return value


def _edge(settings: dict[str, Any], where: str) -> int:
    """The checkpoint's input size in pixels. Raises LoadError if "size" is not a square."""
    size = settings.get("size")
    if not isinstance(size, dict):
        raise LoadError(f'{where} is damaged: it has no "size"')
    edge = size.get("height")
    if not isinstance(edge, int) or edge not in _EDGES or edge != size.get("width"):
        raise Unsupported(
            f'{where} has "size": {json.dumps(size)[:80]}; supported are squares '
            f"of {_EDGES.start} to {_EDGES.stop - 1} pixels"
        )
    return edge


def input_size(width: int, height: int, edge: int = EDGE) -> tuple[int, int]:
    """Width and height of the network's input for a photo (transformers' DPTImageProcessor).

    One side becomes ``edge``: the side whose scale factor is closer to 1. Both are rounded to
    multiples of the patch size, so the aspect ratio is kept only approximately. Unlike
    DPTImageProcessor, this scales panoramas down to at most MAX_TOKENS patches, because time and
    memory grow with the square of the number of patches.

    Raises:
        TooLarge: the longer side is more than MAX_ASPECT times the shorter one.
    """
    check_aspect(width, height)
    by_height, by_width = edge / height, edge / width
    scale = by_width if abs(1 - by_width) < abs(1 - by_height) else by_height
    columns = max(1, round(scale * width / PATCH))
    rows = max(1, round(scale * height / PATCH))
    if columns * rows > MAX_TOKENS:
        shrink = math.sqrt(MAX_TOKENS / (columns * rows))
        columns, rows = max(1, int(columns * shrink)), max(1, int(rows * shrink))
    return columns * PATCH, rows * PATCH
