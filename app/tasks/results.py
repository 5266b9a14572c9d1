# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Results of the tasks: depth maps and vectors, their provenance, and the time of each stage."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields

from app.engines.base import FloatArray
from app.errors import TwinlensError
from app.models.base import Provenance
from app.models.tokens import Tokens
from app.rendering.options import Size, Unit


@dataclass
class Timings:
    """Seconds that a request spent in each stage, summed over all its images."""

    #: from the file to pixels
    decode: float = 0.0
    #: from pixels to the network's input
    prepare: float = 0.0
    #: waiting for a turn, and then for the device
    wait: float = 0.0
    infer: float = 0.0
    #: from the network's output to a map or a vector
    finish: float = 0.0
    #: from the map to a file
    encode: float = 0.0

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add the duration of the ``with`` block to a stage."""
        began = time.monotonic()
        try:
            yield
        finally:
            setattr(self, name, getattr(self, name) + time.monotonic() - began)

    def add(self, other: Timings) -> None:
        """Add the seconds of another part of the same request."""
        for each in fields(self):
            setattr(self, each.name, getattr(self, each.name) + getattr(other, each.name))


@dataclass(frozen=True)
class Result:
    """The part that results of all tasks have in common."""

    #: kind of weights: "published", or what the checkpoint's files say, such as "random"
    weights: str
    #: None: another program made it, which does not tell
    provenance: Provenance | None
    timings: Timings


@dataclass(frozen=True)
class DepthMap(Result):
    """A depth map, or a stereo pair made from it, as a file."""

    file: bytes
    #: range of the map that the network computed, in ``unit``
    low: float
    high: float
    #: "relative" is disparity (larger is nearer), "metres" distance
    unit: Unit
    #: of the camera, pixels of the upright photo; None if nobody knows, or it does not matter
    focal_length: float | None
    #: of the camera, degrees from the left edge of the upright photo to the right one
    field_of_view: float | None
    #: width and height of the upright photo
    photo_size: Size


@dataclass(frozen=True)
class Scene(Result):
    """A 3D scene as a file."""

    file: bytes
    #: of the scene's distances: "metres", or "relative" if only their ratios mean something
    unit: Unit
    #: of the camera, pixels of the upright photo
    focal_length: float | None
    #: of the camera, degrees from the left edge of the upright photo to the right one
    field_of_view: float | None
    #: width and height of the upright photo
    photo_size: Size


@dataclass(frozen=True)
class OwnPair:
    """A stereo pair made with a depth map of the client's own, as a file; no model was used."""

    timings: Timings
    file: bytes

    @property
    def provenance(self) -> None:
        """There is none."""


@dataclass(frozen=True)
class Preview:
    """A small picture of a photo, as a file; no model was used."""

    timings: Timings
    file: bytes

    @property
    def provenance(self) -> None:
        """There is none."""


@dataclass(frozen=True)
class Embeddings(Result):
    """For each image, in order, its vector (float32 [dims]) or its error."""

    vectors: list[FloatArray | TwinlensError]
    #: pixels of the shortest edge to which each image was resized
    image_size: int
    #: width and height of each upright image, pixels; None where it has an error
    sizes: list[Size | None]


@dataclass(frozen=True)
class TextEmbeddings(Result):
    """For each text, in order, its vector (float32 [dims]) or its error."""

    vectors: list[FloatArray | TwinlensError]
    #: the tokens of each text; None where the text has an error
    tokens: list[Tokens | None]
