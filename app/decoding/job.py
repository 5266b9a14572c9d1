# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""What a worker wants of a file, and what it gets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.pictures.decode import DecodeSize
from app.pictures.steps import Step

Size = tuple[int, int]
#: From the size of the decoded picture and of the upright photo to the steps that a decoder does
#: with it; None: the picture is wanted as it is.
Plan = Callable[[Size, Size], Sequence[Step] | None]


def _nothing() -> None:
    """Nobody is told."""


@dataclass(frozen=True)
class Job:
    """One file's decoding. All functions are called in the thread that waits."""

    #: see ``app.pictures.decode.decode``
    decode_size: DecodeSize
    plan: Plan
    #: asked about twice a second: raises where nobody waits for the pixels any more
    check_cancelled: Callable[[], None]
    #: called once where decoding takes longer than usual
    on_slow: Callable[[], None] = _nothing


@dataclass(frozen=True)
class Pixels:
    """An upright picture that a decoder has made; the memory is shared with nobody else."""

    #: [height, width, 3] uint8, RGB
    image: NDArray[np.uint8]
    #: width and height of the upright photo, pixels
    size: Size
    #: the steps of the plan were done
    done: bool
    #: from the handing over of the file to the pixels
    seconds: float
