# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""DPT through transformers: MiDaS 3.0 and 3.1, and Meta's depth heads on DINOv2.

Ranftl et al., "Vision Transformers for Dense Prediction", ICCV 2021,
https://arxiv.org/abs/2103.13413. MiDaS's models estimate inverse depth, with one of four backbones:
a plain ViT, a ViT on BiT (hybrid), BEiT or SwinV2. The models on DINOv2, which Meta trained on NYU
and KITTI, estimate distance in metres. Images are preprocessed as by transformers'
DPTImageProcessor with the published checkpoints' settings.
"""

from __future__ import annotations

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
from app.models.transformers_depth import (
    OFF,
    ON,
    TransformersDepth,
    depth_only,
    fitted_size,
)
from app.pictures.canvas import ImageWork
from config.models import ModelSpec

# The largest number of patches of an input. It is lower for BEiT, which needs memory for a number
# for every pair of patches.
_MAX_PATCHES = {"beit": 2048, "dinov2": 4096}
_PROCESSORS = (
    "DPTImageProcessor",
    "DPTImageProcessorFast",
    "DPTImageProcessorPil",
    "DPTFeatureExtractor",
    None,
    ABSENT,
)
_PREPARATION: Allowed = {
    "image_processor_type": _PROCESSORS,
    "feature_extractor_type": _PROCESSORS,
    "do_center_crop": OFF,
    "do_normalize": ON,
}
_RESIZED: Allowed = {
    "do_resize": ON,
    "do_pad": OFF,
    "do_rescale": ON,
    "rescale_factor": (1 / 255, ABSENT),
}
_SQUASHED: Allowed = {"keep_aspect_ratio": OFF}
# Meta's models take photos at their own size, with levels of 0 to 255 and a border of zeros.
_PADDED: Allowed = {"do_resize": (False,), "do_pad": (True,), "do_rescale": (False,)}
_TOKENS: Allowed = {"reshape_hidden_states": (False,)}
_BACKBONES: dict[str, Allowed] = {
    "beit": {**_TOKENS, "add_fpn": OFF},
    "dinov2": _TOKENS,
    "swinv2": {},
}


class Dpt(TransformersDepth):
    """One DPT checkpoint."""

    CLASS = "DPTForDepthEstimation"

    def __init__(self, spec: ModelSpec, checkpoint: Checkpoint) -> None:
        """See the base class."""
        super().__init__(spec, checkpoint)
        self.check_settings(_PREPARATION)
        part = description.part(self.config, "backbone_config", self.FILES[0])
        #: "vit", "hybrid", "beit", "swinv2" or "dinov2"
        self.backbone = self._backbone(part)
        self.patch = _patch(self.config if self.backbone == "vit" else part)
        self.is_metric = self.backbone == "dinov2"
        #: width and height of the input if all photos get the same; None: they depend on the photo
        self.fixed: tuple[int, int] | None = None
        if self.is_metric:
            self.check_settings({**_PADDED, "size_divisor": (self.patch,)})
            self.read_colours(scale=255)
            return
        self.check_settings(_RESIZED)
        self.read_colours()
        self.interpolation = self.read_interpolation("bicubic")
        self.size = self.read_size((384, 384))
        self.multiple = self._multiple()
        if self.backbone != "beit":
            self.check_settings(_SQUASHED)
        if not self.settings.get("keep_aspect_ratio"):
            width, height = (self.multiple * round(side / self.multiple) for side in self.size)
            self.fixed = width, height
            self._check_fixed(part)

    def module(self, network: str) -> Any:  # noqa: ARG002 - there is only one
        """See the base class; the output is [n, h, w] and never negative."""
        return depth_only(self.load())

    def input_shape(self, network: str) -> tuple[int | None, ...]:  # noqa: ARG002
        """See the base class.

        BEiT's width and height are dynamic even if all inputs have the same size. If they were
        fixed, OpenVINO would store a number for every pair of patches in every layer, 1.6 GB in
        all.
        """
        if self.fixed is None or self.backbone == "beit":
            return None, 3, None, None
        return None, 3, self.fixed[1], self.fixed[0]

    def max_batch(self, network: str, device: str) -> int:  # noqa: ARG002
        """See the base class; on a 2-core CPU a batch of two is slower than two single runs."""
        return 1 if device == "cpu" else 4

    def blank(self, network: str) -> FloatArray:
        """See the base class."""
        blank = super().blank(network)
        if not self.is_metric:
            return blank
        _, _, rows, columns = blank.shape
        left, top, right, bottom = self._border(columns, rows)
        return np.pad(blank, ((0, 0), (0, 0), (top, bottom), (left, right)))

    def input_size(self, width: int, height: int) -> tuple[int, int]:
        """See the base class; for DINOv2 without the border, which ``prepare`` adds."""
        check_aspect(width, height)
        if self.fixed is not None:
            return self.fixed
        most = _MAX_PATCHES[self.backbone]
        if self.backbone == "beit":
            return fitted_size((width, height), self.size, self.multiple, self.patch, most)
        shrink = math.sqrt(most * self.patch**2 / (width * height))
        if shrink >= 1 and self._patches(width) * self._patches(height) <= most:
            return width, height
        # Rounded down to whole patches, so that their number stays within the limit.
        columns, rows = (max(1, int(shrink * side / self.patch)) for side in (width, height))
        return columns * self.patch, rows * self.patch

    def prepare(self, picture: Picture, work: ImageWork) -> FloatArray:
        """See the base class."""
        inputs = super().prepare(picture, work)
        if not self.is_metric:
            return inputs
        left, top, right, bottom = self._border(inputs.shape[2], inputs.shape[1])
        return np.pad(inputs, ((0, 0), (top, bottom), (left, right)))

    def crop(self, output: FloatArray, size: tuple[int, int]) -> FloatArray:
        """See the base class.

        DINOv2's border is removed. transformers leaves it in the map, which is therefore shifted
        by up to 7 pixels against the photo.
        """
        if not self.is_metric:
            return output
        content = self.input_size(*size)
        return without_border(output, content, self._border(*content))

    def disparity(self, output: FloatArray) -> FloatArray:
        """See the base class."""
        return inverse(output, NEAREST_METRES) if self.is_metric else output

    def metres(self, output: FloatArray, focal_length: float | None) -> FloatArray:
        """See the base class."""
        if not self.is_metric:
            return super().metres(output, focal_length)
        return np.maximum(output, 0)  # the bicubic sampling of ``crop`` can go below 0

    def _patches(self, side: int) -> int:
        """Number of patches along a side of the input, border included."""
        return max(2, math.ceil(side / self.patch))  # ``fitted_size`` explains why at least two

    def _border(self, width: int, height: int) -> tuple[int, int, int, int]:
        """Widths of DINOv2's border at the left, top, right and bottom."""
        across, down = (self._patches(side) * self.patch - side for side in (width, height))
        return across // 2, down // 2, across - across // 2, down - down // 2

    def _backbone(self, part: dict[str, Any]) -> str:
        if self.config.get("is_hybrid"):
            self.check_config(part, {"model_type": ("bit", ABSENT)}, "backbone_config")
            return "hybrid"
        if not part:
            return "vit"
        self.check_config(part, {"model_type": tuple(_BACKBONES)}, "backbone_config")
        backbone = str(part["model_type"])
        self.check_config(
            part, {"num_channels": (3, ABSENT), **_BACKBONES[backbone]}, "backbone_config"
        )
        return backbone

    def _multiple(self) -> int:
        found = self.settings.get("ensure_multiple_of", 1)
        fits = type(found) is int and found > 0
        if self.settings.get("keep_aspect_ratio"):
            fits = fits and found % self.patch == 0
        if not fits:
            raise Unsupported(
                f'{self.settings_place} has "ensure_multiple_of": {found!r:.80}; supported are '
                f"multiples of the patch size, {self.patch}"
            )
        return int(found)

    def _check_fixed(self, part: dict[str, Any]) -> None:
        """Raise Unsupported if the backbone cannot process inputs of the size ``fixed``."""
        assert self.fixed is not None
        # A file may omit these values; then transformers' defaults apply.
        edge = self.config.get("image_size", 384)
        if self.backbone == "swinv2":
            edge = part.get("image_size", 224)
        width, height = self.fixed
        fits = not (width % self.patch or height % self.patch)
        if self.backbone != "beit":
            fits = fits and width == height
        if self.backbone in ("hybrid", "swinv2"):
            fits = fits and width == edge
        if not fits:
            raise Unsupported(
                f"{self.settings_place} has inputs of {width}x{height}; supported are "
                + (f"{edge}x{edge}" if self.backbone in ("hybrid", "swinv2") else "squares")
                + f" in whole patches of {self.patch}"
            )


def _patch(found: dict[str, Any]) -> int:
    """Edge of a patch, pixels. 16 is the default of DPT and BEiT; hybrid models have no other."""
    defaults = {"dinov2": 14, "swinv2": 4}
    patch = found.get("patch_size", defaults.get(str(found.get("model_type")), 16))
    if type(patch) is not int or patch <= 0:
        raise Unsupported(f'config.json has "patch_size": {patch!r:.80}; supported is a number')
    return patch
