# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""A decoding job (the worker's request for one file) and its result."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.pictures.decode import DecodeSize
from app.pictures.steps import Step

Size = tuple[int, int]
#: Maps the size of the decoded picture and the size of the upright photo to the crops and resizes
#: that the decoder is to do; None means that it is to do none.
Plan = Callable[[Size, Size], Sequence[Step] | None]


def _nothing() -> None:
    """The default of ``on_slow``."""


@dataclass(frozen=True)
class Job:
    """How one file is decoded. All functions are called in the thread that waits for the pixels."""

    #: chooses the size to decode at, see ``app.pictures.decode.decode``
    decode_size: DecodeSize
    plan: Plan
    #: called about twice a second; raises if the request was cancelled
    check_cancelled: Callable[[], None]
    #: called once if decoding takes longer than usual
    on_slow: Callable[[], None] = _nothing
    #: whether the file is a depth map, whose levels come as ``depth_map.packed`` packs them
    is_depth: bool = False


@dataclass(frozen=True)
class Pixels:
    """An upright picture from a decoder, in memory that only the worker uses."""

    #: [height, width, 3] uint8, RGB
    image: NDArray[np.uint8]
    #: width and height of the upright photo, pixels
    size: Size
    #: whether the decoder did the steps of the plan
    done: bool
    #: time from sending the file to receiving the pixels
    seconds: float
    #: the camera's focal length in pixels of the upright photo; None: the file does not tell it
    focal_length: float | None = None
