# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""What the tasks give: maps and vectors, what they were made with, and how long that took."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from app.engines.base import FloatArray
from app.errors import TwinlensError
from app.models.base import Provenance
from app.models.tokens import Tokens


@dataclass
class Timings:
    """Seconds that a request spent in each stage; of several images, all together."""

    #: of the file, to pixels
    decode: float = 0.0
    #: of the picture, to the network's input
    prepare: float = 0.0
    #: for its turn, and for the device
    wait: float = 0.0
    infer: float = 0.0
    #: the network's output to a map or a vector
    finish: float = 0.0
    #: the map to a file
    encode: float = 0.0

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add the time of a block to a stage."""
        began = time.monotonic()
        try:
            yield
        finally:
            setattr(self, name, getattr(self, name) + time.monotonic() - began)


@dataclass(frozen=True)
class Result:
    """What is told with each answer."""

    #: "published", or what the checkpoint says of itself
    weights: str
    provenance: Provenance
    timings: Timings


@dataclass(frozen=True)
class DepthMap(Result):
    """A map, or what was asked for instead of it, as a file of the format that was asked for."""

    file: bytes
    #: range of what the network gave, larger is nearer
    low: float
    high: float


@dataclass(frozen=True)
class Embeddings(Result):
    """For each image in order a vector [dims] float32, or what was wrong with it."""

    vectors: list[FloatArray | TwinlensError]
    #: shortest edge that the sources were brought to, pixels
    image_size: int


@dataclass(frozen=True)
class TextEmbeddings(Result):
    """For each text in order a vector [dims] float32, or what was wrong with it."""

    vectors: list[FloatArray | TwinlensError]
    #: of each text, None where something was wrong with it
    tokens: list[Tokens | None]
