# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""One file of vectors, whatever its format."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from app.errors import BadRequest
from app.library.pages import Floats


@dataclass(frozen=True)
class MadeWith:
    """What vectors must have in common to be compared. None: the file does not tell."""

    model: str
    revision: str | None = None
    preprocess_version: int | None = None
    #: pixels of the shortest edge to which pictures were resized
    image_size: int | None = None

    def __str__(self) -> str:
        revision = f" of revision {self.revision}" if self.revision else ""
        version = self.preprocess_version
        prepared = "" if version is None else f", preprocess version {version}"
        size = f", image size {self.image_size}" if self.image_size else ""
        return f"{self.model}{revision}{prepared}{size}"


class Part(ABC):
    """Rows of one file. A row has an id, a path, and a vector unless its picture failed."""

    rows: int
    dims: int
    #: number of portions of rows, which can be read in parallel
    chunks: int
    #: of each row, a hash of its id: 8 bytes instead of the id's 100
    ids: NDArray[np.int64]
    has_vector: NDArray[np.bool_]
    #: how many rows with a vector were made with what
    made_with: Counter[MadeWith]

    @abstractmethod
    def blocks(self, chunk: int) -> Iterator[tuple[Floats, NDArray[np.int64]]]:
        """The vectors [n, dims] of a portion, and the numbers of their rows. Raises BadRequest."""

    @abstractmethod
    def names(self, rows: NDArray[np.int64]) -> list[tuple[str, str]]:
        """Id and path of each of these rows, which are sorted."""


def hashes(ids: Iterable[str], count: int) -> NDArray[np.int64]:
    """A 64-bit hash of each id. It differs from process to process."""
    return np.fromiter(map(hash, ids), np.int64, count)


def unreadable(path: Path, why: str) -> BadRequest:
    """The error for a file that has no usable vectors."""
    return BadRequest(f"{path} cannot be searched: {why}", title="No vectors")
