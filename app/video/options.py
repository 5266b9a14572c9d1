# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Options of the video routes; queries, forms and the command line use the same names.

Clients that fill in a form send all its fields. A default value is therefore accepted also where
it has no meaning; any other value is refused there.
"""

from __future__ import annotations

from typing import Literal, Self

from pydantic import ConfigDict, Field, model_validator

from app.rendering.options import (
    DEFAULT_CONVERGENCE,
    DEFAULT_DIVERGENCE,
    Colormap,
    RequestOptions,
    Stereo,
)
from app.video.work import Codec, FilmWork, Sampling

#: ImmichVR's names of two layouts of a stereo film.
Format = Literal["SBS_FULL", "SBS_HALF"]
Method = Literal["interval", "keyframes"]
#: every arrangement but "none"
Pair = Literal["sbs", "half-sbs", "tb", "half-tb", "cross", "anaglyph", "left", "right"]
FilmCodec = Literal["h264", "hevc", "av1", "vp9"]

_STEREO_OF: dict[str, Stereo] = {"SBS_FULL": "sbs", "SBS_HALF": "half-sbs"}
DEFAULT_FPS = 1.0
#: frames of a ZIP, unless the request names a number
DEFAULT_FRAMES = 30
DEFAULT_BATCH = 10
# Seconds; more than any film has, and few enough for the time stamps of all containers.
_LONGEST = 1_000_000


class PartOptions(RequestOptions):
    """Which part of the film is used."""

    model_config = ConfigDict(extra="forbid")

    start: float = Field(
        0.0, ge=0, le=_LONGEST, description="where the part of the film begins, seconds"
    )
    duration: float | None = Field(
        None,
        gt=0,
        le=_LONGEST,
        description="length of the part, seconds; default: to the end of the film",
        json_schema_extra={"example": 10},
    )


class DepthFilmOptions(PartOptions):
    """Options for depth maps of a film; by default a ZIP of PNG files, one a second."""

    fps: float | None = Field(
        None,
        gt=0,
        le=1000,
        description="frames a second of the film, with `method=interval`; default: "
        f"{DEFAULT_FPS:g}",
        json_schema_extra={"example": DEFAULT_FPS},
    )
    max_frames: int | None = Field(
        None,
        ge=1,
        description=f"at most so many frames; default: {DEFAULT_FRAMES} of a `zip`, no limit for "
        "`mp4` and `mkv`",
        json_schema_extra={"example": DEFAULT_FRAMES},
    )
    method: Method | None = Field(
        None,
        description="which frames. `interval`: at even distances in time; `keyframes`: those that "
        "are stored as key frames; default: `interval` of a `zip`, and where `fps` is given; else "
        "all frames",
    )
    output_format: Literal["zip", "mp4", "mkv"] = Field(
        "zip",
        description="`zip`: an 8-bit grey PNG for each frame, each spread over 0 to 255 by itself; "
        "`mp4`: a film with steady depth and the film's sound; `mkv`: the same, by default with "
        "16-bit grey frames without loss (FFV1)",
    )
    codec: Codec | None = Field(
        None, description="with `mp4` (default `h264`) and `mkv` (default `ffv1`)"
    )
    colormap: Colormap = Field("gray", description="colours instead of grey; not with `ffv1`")
    invert: bool = Field(False, description="near is dark")

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        if self.method == "keyframes" and self.fps not in (None, DEFAULT_FPS):
            raise ValueError("fps: only with method=interval; leave it out with method=keyframes")
        if self.output_format == "zip" and self.codec is not None:
            raise ValueError("codec: only with output_format=mp4 or mkv; a zip has PNG files")
        if self.output_format == "mp4" and self.codec == "ffv1":
            raise ValueError("codec=ffv1 needs output_format=mkv")
        if self._codec() == "ffv1" and self.colormap != "gray":
            raise ValueError(
                "colormap: ffv1 has 16-bit grey only; take output_format=zip or mp4, or another "
                "codec"
            )
        return self

    def work(self) -> FilmWork:
        """What is to be made of the film."""
        is_zip = self.output_format == "zip"
        takes_all = not is_zip and self.fps is None
        sampling: Sampling = self.method or ("all" if takes_all else "interval")
        return FilmWork(
            self.output_format,
            codec=self._codec(),
            start=self.start,
            seconds=self.duration,
            sampling=sampling,
            fps=(self.fps or DEFAULT_FPS) if sampling == "interval" else None,
            max_frames=self.max_frames or (DEFAULT_FRAMES if is_zip else None),
            colormap=self.colormap,
            invert=self.invert,
            is_steady=not is_zip,
        )

    def counting(self) -> FilmWork:
        """To count the frames of ``work``, without making anything of them."""
        work = self.work()
        return FilmWork(
            "none",
            start=work.start,
            seconds=work.seconds,
            sampling=work.sampling,
            fps=work.fps,
            max_frames=work.max_frames,
        )

    def _codec(self) -> Codec | None:
        if self.output_format == "zip":
            return None
        return self.codec or ("h264" if self.output_format == "mp4" else "ffv1")


class StereoFilmOptions(PartOptions):
    """Options for a 3D film; by default both views side by side at full size, H.264 in MP4."""

    format: Format | None = Field(
        None,
        description="`SBS_FULL` (default): `stereo=sbs`; `SBS_HALF`: `stereo=half-sbs`, by "
        "ImmichVR's names",
    )
    stereo: Pair | None = Field(
        None,
        description="how the views are arranged, as for a photo (POST /api/depth); in place of "
        "`format`",
    )
    divergence: float = Field(
        DEFAULT_DIVERGENCE,
        gt=0,
        le=10,
        description="how much farther the views of the nearest and the farthest point lie apart "
        "from each other, percent of the film's width",
    )
    convergence: float = Field(
        DEFAULT_CONVERGENCE,
        ge=0,
        le=1,
        description="what appears at the distance of the screen. 0: the farthest point, 1: the "
        "nearest point, between them by disparity",
    )
    swap: bool = Field(False, description="exchanges the eyes")
    codec: FilmCodec = Field("h264", description="of the picture; the sound is copied")
    batch_size: int = Field(
        DEFAULT_BATCH,
        ge=1,
        le=64,
        description="accepted because ImmichVR sends it, and without effect: the service itself "
        "chooses how many frames are inferred together",
    )
    output_format: Literal["mp4", "mkv"] = Field("mp4", description="container of the 3D film")

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        if self.format and self.stereo and _STEREO_OF[self.format] != self.stereo:
            raise ValueError(
                f"format={self.format} means stereo={_STEREO_OF[self.format]}, not "
                f"{self.stereo}: send only one of the two"
            )
        if self.stereo in ("left", "right") and self.swap:
            other = "right" if self.stereo == "left" else "left"
            raise ValueError(f"swap exchanges the views of a pair: ask for stereo={other} instead")
        return self

    @property
    def arrangement(self) -> Stereo:
        """How the views are arranged, by the names of POST /api/depth."""
        return self.stereo or _STEREO_OF[self.format or "SBS_FULL"]

    def work(self) -> FilmWork:
        """What is to be made of the film."""
        return FilmWork(
            self.output_format,
            codec=self.codec,
            start=self.start,
            seconds=self.duration,
            stereo=self.arrangement,
            divergence=self.divergence,
            convergence=self.convergence,
            swap=self.swap,
        )
