# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Options of a depth request; queries, forms and the command line use the same names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    WithJsonSchema,
    model_validator,
)

from app.errors import BadRequest

Format = Literal["png", "png16", "npy", "tiff", "webp", "jpeg"]
Stereo = Literal["none", "sbs", "half-sbs", "tb", "half-tb", "cross", "anaglyph", "left", "right"]
Colormap = Literal["gray", "inferno", "magma", "plasma", "viridis", "cividis", "turbo"]
#: Of a map's numbers: "relative" is disparity, "metres" distance.
Unit = Literal["relative", "metres"]
#: width and height, pixels
Size = tuple[int, int]

# Formats for the map's numbers, with more than 256 levels. Colormaps and stereo pairs need one of
# the other formats.
EXACT = ("png16", "npy", "tiff")
# Formats that hold any number.
FLOAT = ("npy", "tiff")
#: Other names of formats: the suffixes that their files often have.
FORMAT_ALIASES = {"jpg": "jpeg", "tif": "tiff"}
_NAMED_SIZES = ("original", "model")
_MOST_DIGITS = 6
# Longest name of an option that an error repeats.
_MOST_NAME = 64
DEFAULT_DIVERGENCE = 2.0
DEFAULT_CONVERGENCE = 0.5
_NO_HEIC = (
    "a spatial photo (heic) cannot be written here: the HEIF library (libheif) reads the groups of "
    "stereo pairs (`ster`) and camera data (`cmin`, `cmex`), but does not write them; take "
    "format=png, webp or jpeg"
)


def _size(value: object) -> object:
    """Validates ``size``: a name, or a number of pixels as an integer or as text."""
    if value in _NAMED_SIZES:
        return value
    text = str(value)
    is_number = text.isascii() and text.isdecimal() and len(text) <= _MOST_DIGITS
    if not is_number or int(text) < 1:
        raise ValueError("allowed: original, model, or the longest edge in pixels, 1 to 999999")
    return int(text)


def _format(value: object) -> object:
    """Validates ``format``: says why there is no HEIC, which people of headsets ask for."""
    if value in ("heic", "heif"):
        raise ValueError(_NO_HEIC)
    return FORMAT_ALIASES.get(str(value), value)


# The schema is a string, because queries and forms carry text only.
_SIZE_SCHEMA = {
    "type": "string",
    "pattern": f"^(original|model|[1-9][0-9]{{0,{_MOST_DIGITS - 1}}})$",
}


class RequestOptions(BaseModel):
    """Options of a request, of which each has a default."""

    # Unknown options are ignored, for compatibility with existing clients.
    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False)

    @classmethod
    def parse(cls, given: Mapping[str, object]) -> Self:
        """Options from a query, a form or a command line; an empty text counts as not given.

        Raises:
            BadRequest: the message names each wrong option and what is allowed.
        """
        try:
            return cls.model_validate({name: value for name, value in given.items() if value != ""})
        except ValidationError as error:
            findings = [_finding(detail) for detail in error.errors(include_input=False)]
            raise BadRequest("; ".join(findings), title="Invalid option") from None


class DepthOptions(RequestOptions):
    """The options; by default an 8-bit grey PNG of the photo's size, with near as bright."""

    format: Annotated[Format, BeforeValidator(_format)] = Field(
        "png",
        description="`png`: 8 bits; `png16`: 16-bit grey; `npy`: NumPy array [height, width] "
        "float32, 0 to 1; `tiff`: the same numbers as a TIFF of one float32 channel; `webp`: "
        "lossless (a stereo pair: quality 90); `jpeg`: quality 92. `jpg` and `tif` mean the same "
        "as `jpeg` and `tiff`",
    )
    size: Annotated[int | str, BeforeValidator(_size), WithJsonSchema(_SIZE_SCHEMA)] = Field(
        "original",
        description="`original`: the photo's; `model`: what the network computes, without "
        "enlarging it; a number: the longest edge, pixels; no photo is enlarged",
    )
    invert: bool = Field(False, description="near is dark")
    colormap: Colormap = Field(
        "gray", description="colours instead of grey, for `png`, `webp` and `jpeg`"
    )
    normalize: Literal["minmax", "none"] = Field(
        "minmax",
        description="`none`: the numbers before they are spread over 0 to 1, larger is nearer, "
        "with `format=npy` or `tiff` only",
    )
    unit: Unit = Field(
        "relative",
        description="`metres`: distances instead of disparity, larger is farther, of a model that "
        "gives metres (`metric` in GET /api/models), with `format=npy` or `tiff` only",
    )
    focal_length: float = Field(
        0,
        ge=0,
        description="with `unit=metres`: the camera's focal length in pixels of the upright photo, "
        "for models that need it; 0: what the model or the photo's EXIF data say",
    )
    stereo: Stereo = Field(
        "none",
        description="instead of the map a stereo pair of the photo, as `png`, `webp` or `jpeg`. "
        "`sbs`: the left eye's view left of the right eye's; `tb`: above it; `half-sbs`, "
        "`half-tb`: the same with views of half the width or height; `cross`: the right eye's view "
        "on the left; `anaglyph`: for red-cyan glasses; `left`, `right`: one eye's view",
    )
    divergence: float = Field(
        DEFAULT_DIVERGENCE,
        gt=0,
        le=10,
        description="of a stereo pair: how much farther the views of the nearest and the farthest "
        "point lie apart from each other, percent of the photo's width",
    )
    convergence: float = Field(
        DEFAULT_CONVERGENCE,
        ge=0,
        le=1,
        description="of a stereo pair: what appears at the distance of the screen. 0: the farthest "
        "point, and all else in front of it; 1: the nearest point, and all else behind it; between "
        "them by disparity",
    )
    swap: bool = Field(False, description="exchanges the eyes of a stereo pair")

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        if self.in_metres and self.format not in FLOAT:
            raise ValueError("unit=metres needs format=npy or tiff")
        if self.in_metres and self.invert:
            raise ValueError("unit=metres gives distances: leave invert out")
        if self.focal_length and not self.in_metres:
            raise ValueError("focal_length needs unit=metres")
        if self.normalize == "none" and self.format not in FLOAT:
            raise ValueError("normalize=none needs format=npy or tiff")
        if self.normalize == "none" and self.invert:
            raise ValueError("normalize=none gives the network's own numbers: leave invert out")
        if self.colormap != "gray" and self.format in EXACT:
            raise ValueError("a colormap needs format=png, webp or jpeg")
        self._check_stereo()
        return self

    def _check_stereo(self) -> None:
        if self.is_pair and self.format in EXACT:
            raise ValueError(f"stereo={self.stereo} needs format=png, webp or jpeg")
        if self.is_pair and (self.invert or self.colormap != "gray"):
            raise ValueError(f"stereo={self.stereo} shows the photo: leave invert and colormap out")
        if self.stereo in ("left", "right") and self.swap:
            other = "right" if self.stereo == "left" else "left"
            raise ValueError(f"swap exchanges the views of a pair: ask for stereo={other} instead")
        # The default value is accepted without a pair, because forms may send every field.
        idle = [
            name
            for name in ("divergence", "convergence", "swap")
            if getattr(self, name) != type(self).model_fields[name].default
        ]
        if not self.is_pair and idle:
            raise ValueError(f"{', '.join(idle)}: only with a stereo pair, such as stereo=sbs")

    @property
    def in_metres(self) -> bool:
        """Whether distances in metres are wanted instead of disparity."""
        return self.unit == "metres"

    @property
    def is_pair(self) -> bool:
        """Whether a stereo pair, or a view of one, is wanted instead of the map."""
        return self.stereo != "none"

    def target(self, photo: Size, network: Size) -> Size:
        """Width and height of the resulting map, or of each view of a stereo pair."""
        if self.size == "original":
            return photo
        if self.size == "model":
            return network
        assert isinstance(self.size, int)
        scale = min(1.0, self.size / max(photo))
        return max(1, round(photo[0] * scale)), max(1, round(photo[1] * scale))


def _finding(detail: Any) -> str:
    name = ".".join(str(part) for part in detail["loc"])
    if detail["type"] == "literal_error":
        text = f"allowed: {detail['ctx']['expected']}"
    elif detail["type"].startswith("bool"):
        text = "allowed: true, false"
    elif detail["type"] == "extra_forbidden":
        name, text = name[:_MOST_NAME], "no option here"
    else:
        text = detail["msg"].removeprefix("Value error, ")
    return f"{name}: {text}" if name else text
