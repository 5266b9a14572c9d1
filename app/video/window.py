# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Shared memory through which frames and maps pass between a film's process and the worker."""

from __future__ import annotations

import math
import mmap
import os
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from app.decoding.decoder import seal, shared_memory


class Window:
    """A number of places, each of which holds an array of the same shape."""

    def __init__(
        self, descriptor: int, places: int, shape: tuple[int, ...], type_: DTypeLike
    ) -> None:
        """Map the memory that a descriptor of ``make`` stands for.

        Raises:
            OSError, ValueError: the memory cannot be mapped.
        """
        self.shape = shape
        self._type = np.dtype(type_)
        self._values = math.prod(shape)
        self._memory = mmap.mmap(descriptor, places * self._bytes())

    @classmethod
    def make(cls, places: int, shape: tuple[int, ...], type_: DTypeLike) -> tuple[Window, int]:
        """New memory, and its descriptor for the other process, which the caller closes.

        Its size is sealed: if the other process shrank it, this one would crash on its mapping.

        Raises:
            OSError: there are no descriptors or no memory left.
        """
        descriptor = shared_memory("window")
        try:
            count = places * math.prod(shape) * np.dtype(type_).itemsize
            os.ftruncate(descriptor, count)
            seal(descriptor)
            return cls(descriptor, places, shape, type_), descriptor
        except BaseException:
            os.close(descriptor)
            raise

    def read(self, place: int) -> NDArray[Any]:
        """A copy of the array at a place."""
        return self._at(place).copy()

    def write(self, place: int, values: NDArray[Any]) -> None:
        """Copy an array of the window's shape to a place."""
        self._at(place)[...] = values

    def _at(self, place: int) -> NDArray[Any]:
        first = place * self._bytes()
        array = np.frombuffer(self._memory, self._type, self._values, first)
        return array.reshape(self.shape)

    def _bytes(self) -> int:
        return self._values * self._type.itemsize
