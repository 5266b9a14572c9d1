# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Finds the vectors with the highest cosine to some queries. Exact: all vectors are compared."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.host import memory
from app.library.reading import Block, Rows, Vectors

FloatArray = NDArray[np.float32]

# A block of so many vectors of 768 takes 1.5 MB in float32, so that it stays in a core's cache
# between its conversion and the product.
_BLOCK = 512
#: How exact cosines are in float32: that of two equal vectors may be a little below 1.
ROUNDING = 1e-6


@dataclass(frozen=True)
class Matches:
    """The best rows of one query, best first; of equal scores, the row that comes first."""

    rows: Rows
    #: cosines
    scores: FloatArray


def in_float32(
    blocks: Iterable[Block], most: int = _BLOCK
) -> Iterator[tuple[FloatArray, FloatArray, Rows]]:
    """Vectors, their lengths and rows, at most so many at a time.

    The vectors are overwritten by the next ones. The length is NaN where a vector has no direction,
    because it is all zeros or not finite.
    """
    buffer: FloatArray = np.empty((0, 0), np.float32)
    for block in blocks:
        for start in range(0, len(block.rows), most):
            part = slice(start, start + most)
            source = block.vectors[part]
            if not len(buffer):
                buffer = np.empty((most, source.shape[1]), np.float32)
            vectors = buffer[: len(source)]
            with np.errstate(all="ignore"):
                np.copyto(vectors, source, casting="same_kind")
                lengths = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))
            lengths[~np.isfinite(lengths) | (lengths == 0)] = np.nan
            yield vectors, lengths, block.rows[part]


def unit(blocks: Iterable[Block], most: int = _BLOCK) -> Iterator[tuple[FloatArray, Rows]]:
    """Vectors of length 1, at most so many at a time; NaN where a vector has no direction."""
    for vectors, lengths, rows in in_float32(blocks, most):
        with np.errstate(all="ignore"):
            yield vectors / lengths[:, None], rows


def nearest(
    vectors: Vectors,
    queries: FloatArray,
    k: int,
    threshold: float = -1.0,
    check_cancelled: Callable[[], None] = lambda: None,
) -> tuple[list[Matches], int]:
    """The ``k`` best rows of each query, and the number of vectors without a direction.

    Args:
        vectors: those to compare with.
        queries: [n, dims], of any length but 0.
        k: how many rows at most.
        threshold: the lowest cosine.
        check_cancelled: raises an exception to end the search.

    Raises:
        BadRequest: the file is damaged.
    """
    search = _Search(queries, k, threshold)

    def work(blocks: Callable[[], Iterator[Block]]) -> None:
        check_cancelled()
        search.add(blocks())

    in_threads(work, vectors.chunks())
    return search.matches(), search.unusable


def in_threads(
    work: Callable[[Callable[[], Iterator[Block]]], None],
    chunks: Iterable[Callable[[], Iterator[Block]]],
) -> None:
    """Call ``work`` for each chunk, on all cores. The first exception ends it and is raised."""
    pool = ThreadPoolExecutor(memory.usable_cores())
    try:
        for future in as_completed([pool.submit(work, chunk) for chunk in chunks]):
            future.result()
    finally:
        pool.shutdown(cancel_futures=True)


class _Search:
    """The best rows so far, shared by all threads."""

    def __init__(self, queries: FloatArray, k: int, threshold: float) -> None:
        lengths = np.linalg.norm(queries, axis=1, keepdims=True)
        self._queries = np.ascontiguousarray((queries / lengths).T.astype(np.float32))
        self._k = k
        self._threshold = threshold - ROUNDING
        count = len(queries)
        self._best = [Matches(np.empty(0, np.int64), np.empty(0, np.float32))] * count
        self._lock = threading.Lock()
        self.unusable = 0

    def add(self, blocks: Iterable[Block]) -> None:
        """Compare with the vectors of one chunk."""
        floors = self._floors()
        found: list[list[Matches]] = [[] for _ in self._best]
        unusable = 0
        for vectors, lengths, rows in in_float32(blocks):
            with np.errstate(all="ignore"):
                scores = vectors @ self._queries / lengths[:, None]
            unusable += int(np.isnan(lengths).sum())
            for query, few in enumerate(found):
                own = scores[:, query]
                wanted = own >= floors[query]  # false for NaN
                if wanted.any():
                    few.append(Matches(rows[wanted], own[wanted]))
                    if sum(len(each.rows) for each in few) >= 4 * self._k:
                        few[:] = [self._top(few)]
                        floors[query] = max(floors[query], self._floor(few[0]))
        with self._lock:
            self.unusable += unusable
            best = zip(found, self._best, strict=True)
            self._best = [self._top([*few, before]) for few, before in best]

    def matches(self) -> list[Matches]:
        """The result, after all chunks were added."""
        return self._best

    def _floors(self) -> list[float]:
        with self._lock:
            return [self._floor(best) for best in self._best]

    def _floor(self, best: Matches) -> float:
        """What a row must reach to be among the best."""
        return float(best.scores[-1]) if len(best.rows) == self._k else self._threshold

    def _top(self, few: list[Matches]) -> Matches:
        rows = np.concatenate([each.rows for each in few])
        scores = np.concatenate([each.scores for each in few])
        order = np.lexsort((rows, -scores))[: self._k]
        return Matches(rows[order], scores[order])
