# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Options of a request for a 3D scene; queries, forms and the command line use the same names."""

from __future__ import annotations

import math
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator

from app.rendering.options import RequestOptions, Size

SceneFormat = Literal["ply", "splat", "spz", "glb"]
#: distances of the nearest and the farthest point, in scene units
Range = tuple[float, float]

#: ``depth_range`` of models that give metres: what is nearer or farther is put at these distances.
METRES: Range = (0.1, 200.0)
#: ``depth_range`` of the other models, whose nearest point and farthest point get these distances.
RELATIVE: Range = (1.0, 20.0)
DEFAULT_SPLATS, MOST_SPLATS = 1_200_000, 2_000_000
DEFAULT_VERTICES, MOST_VERTICES = 400_000, 2_000_000
_LEAST = 1000
#: degrees across the longer side of a photo whose camera is not known
DEFAULT_VIEW = 60.0
_NEAREST, _FARTHEST = 0.001, 10_000.0


def _range(value: object) -> object:
    """Validates ``depth_range``: two numbers with a comma between them."""
    if isinstance(value, tuple):
        return value
    try:
        near, far = (float(part) for part in str(value)[:100].split(","))
    except ValueError:  # the wrong number of parts, or no numbers
        near = far = math.nan
    if not _NEAREST <= near < far <= _FARTHEST:  # also for NaN
        raise ValueError(
            f"allowed: near,far with {_NEAREST:g} <= near < far <= {_FARTHEST:g}, such as 0.5,50"
        )
    return near, far


# The schema is a string, because queries and forms carry text only. Without an example, the page
# /docs would send one that it makes up.
_RANGE_SCHEMA = {"type": "string", "pattern": "^[0-9.]+,[0-9.]+$", "example": "1,20"}
_Range = Annotated[Range | None, BeforeValidator(_range), WithJsonSchema(_RANGE_SCHEMA)]


class SceneOptions(RequestOptions):
    """The options; by default a PLY of splats, of what the model and the photo say of the scene."""

    # No client of old sends options here, so that a wrong name can be refused.
    model_config = ConfigDict(extra="forbid")

    format: SceneFormat = Field(
        "ply",
        description="`ply`: 3D Gaussians (splats) with full precision; `splat`: 32 bytes each; "
        "`spz`: compressed; `glb`: a textured mesh, glTF 2.0",
    )
    max_splats: int = Field(
        DEFAULT_SPLATS,
        ge=_LEAST,
        le=MOST_SPLATS,
        description="at most so many splats; a photo with more pixels is made smaller",
    )
    max_vertices: int = Field(
        DEFAULT_VERTICES,
        ge=_LEAST,
        le=MOST_VERTICES,
        description="with `format=glb`: at most so many vertices",
    )
    fov: float | None = Field(
        None,
        ge=1,
        le=170,
        description="degrees from the left edge of the upright photo to the right one; default: "
        "what the model estimates, else what the photo's EXIF data say, else "
        f"{DEFAULT_VIEW:g} across the longer side",
        json_schema_extra={"example": DEFAULT_VIEW},
    )
    depth_range: _Range = Field(
        None,
        description="`near,far` in scene units. A model that gives metres keeps its distances, and "
        f"what is nearer or farther is put there (default {METRES[0]:g},{METRES[1]:g}). Of another "
        "model the nearest point is put at near and the farthest at far (default "
        f"{RELATIVE[0]:g},{RELATIVE[1]:g})",
    )

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        # Default values are accepted with each format, because forms may send every field.
        if self.is_mesh and self.max_splats != DEFAULT_SPLATS:
            raise ValueError("max_splats needs format=ply, splat or spz; for glb: max_vertices")
        if not self.is_mesh and self.max_vertices != DEFAULT_VERTICES:
            raise ValueError("max_vertices needs format=glb; for splats: max_splats")
        return self

    @property
    def is_mesh(self) -> bool:
        """Whether a mesh is wanted instead of splats."""
        return self.format == "glb"

    def distances(self, *, in_metres: bool) -> Range:
        """The range of distances for a model that gives metres, or for one that does not."""
        return self.depth_range or (METRES if in_metres else RELATIVE)

    def focal_length(self, photo: Size) -> float | None:
        """The focal length that ``fov`` means, in pixels of the upright photo; None without it."""
        return None if self.fov is None else focal_length(self.fov, photo[0])


def default_focal_length(photo: Size) -> float:
    """The focal length that is assumed for a photo of this size, if nothing is known of it."""
    return focal_length(DEFAULT_VIEW, max(photo))


def focal_length(degrees: float, pixels: float) -> float:
    """The focal length, in pixels, with which so many pixels span an angle."""
    return pixels / 2 / math.tan(math.radians(degrees) / 2)
