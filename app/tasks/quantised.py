# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Vectors in fewer bytes: halves, bytes and bits, as clients of embedding APIs ask for them."""

from __future__ import annotations

import base64
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from app.engines.base import FloatArray

#: ``binary`` and ``ubinary`` have the same bits; their bytes are signed and unsigned.
Kind = Literal["float32", "float16", "int8", "uint8", "binary", "ubinary"]

_LARGEST = 127
_ZERO = 128


def quantised(vector: FloatArray, kind: Kind) -> NDArray[Any]:
    """A vector [dims] in numbers of another kind.

    float16: rounded to the nearest half. int8: each vector has its own scale, so that its largest
    number becomes 127 or -127; cosines stay nearly the same, but lengths are lost. uint8: int8 plus
    128. ubinary: one bit for each number, 1 if it is above 0, eight to a byte, the first number in
    the highest bit; binary: ubinary minus 128.

    The vector must be finite and not all zeros, which ``app.tasks.embedding`` checks.
    """
    if kind == "float32":
        return vector.astype("<f4", copy=False)
    if kind == "float16":
        # Vectors that are not of length 1 may have numbers beyond the range of halves.
        limit = float(np.finfo(np.float16).max)
        return np.clip(vector, -limit, limit).astype("<f2")
    if kind in ("binary", "ubinary"):
        packed = np.packbits(vector > 0)
        return packed if kind == "ubinary" else (packed.astype(np.int16) - _ZERO).astype(np.int8)
    scaled = np.rint(vector.astype(np.float64) * (_LARGEST / float(np.abs(vector).max())))
    return scaled.astype(np.int8) if kind == "int8" else (scaled + _ZERO).astype(np.uint8)


def as_base64(numbers: NDArray[Any]) -> str:
    """The bytes of an array as base64; ``quantised`` returns little endian numbers."""
    return base64.b64encode(numbers.tobytes()).decode()
