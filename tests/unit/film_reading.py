# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Reads films for the tests of the reader."""

from __future__ import annotations

import io
from typing import Any

import numpy as np

from app.video.film import FilmInfo, Frame
from app.video.reader import FilmLimits, FilmReader
from app.video.work import FilmWork
from tests.films import numbered as films
from tests.films.numbered import number_of

LIMITS = FilmLimits(max_pixels=300_000, max_frames=500)


class Read:
    """What was read of a film."""

    def __init__(self, data: bytes, limits: FilmLimits = LIMITS, **work: Any) -> None:
        with FilmReader(io.BytesIO(data), limits, FilmWork("none", **work), threads=1) as reader:
            self.info: FilmInfo = reader.info
            self.frames: list[Frame] = list(reader.frames())
            self.problem = reader.problem
        assert all(frame.image.shape[1::-1] == self.info.size for frame in self.frames)

    @property
    def numbers(self) -> list[int]:
        return [number_of(frame.image) for frame in self.frames]

    @property
    def times(self) -> list[float]:
        return [round(float(frame.seconds), 3) for frame in self.frames]


def levels(colours: Any = films.COLOURS) -> list[list[int]]:
    return [[round(255 * one) for one in colour] for colour in colours]


def assert_near(found: Any, expected: Any, tolerance: int = 4) -> None:
    assert np.abs(np.array(found) - np.array(expected)).max() <= tolerance, (found, expected)
