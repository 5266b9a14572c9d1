# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Finds groups of near-equal pictures. Exact: each vector is compared with each other one.

That takes a number of products that grows with the square of the number of pictures, so
``estimate`` says beforehand how long it will take.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice

import numpy as np

from app.host import memory
from app.library.nearest import ROUNDING, FloatArray, unit
from app.library.reading import Block, Rows, Vectors

# Vectors of one product, whose result takes 16 MB.
_TILE = 2_048
# Tiles that are kept in memory while all later ones are read once: 50 MB of vectors of 768.
_KEPT = 8


@dataclass(frozen=True)
class Group:
    """Pictures that are near-equal to each other, directly or through others of the group."""

    rows: Rows
    #: of each picture, its highest cosine to another one of the group
    scores: FloatArray


def estimate(count: int, dims: int) -> float:
    """Seconds that ``groups`` will take for so many vectors on this machine, roughly."""
    tile = np.random.default_rng(0).standard_normal((_TILE, dims), dtype=np.float32)
    product = np.empty((_TILE, _TILE), np.float32)
    np.matmul(tile, tile.T, out=product)
    began = time.perf_counter()
    np.matmul(tile, tile.T, out=product)
    (product >= 2).any()
    seconds = time.perf_counter() - began
    return seconds * (count / _TILE) ** 2 / 2 / memory.usable_cores()


def groups(
    vectors: Vectors,
    threshold: float,
    on_progress: Callable[[float], None] = lambda _: None,
) -> tuple[list[Group], int]:
    """The groups of two and more pictures, largest first, and the number of vectors without a
    direction, which are in no group.

    Args:
        vectors: of the pictures.
        threshold: the cosine from which two pictures are near-equal.
        on_progress: called with the part that is done, 0 to 1, again and again; it may raise an
            exception to end the search.

    Raises:
        BadRequest: the file is damaged.
    """
    chunks = vectors.chunks()
    found = _Groups(vectors.rows)
    tiles = -(-vectors.count // _TILE)
    todo, done = tiles * (tiles + 1) // 2, 0
    unusable = 0
    kept: list[_Tile] = []

    def compare(first: _Tile, second: _Tile) -> tuple[Rows, Rows, FloatArray]:
        products = first.vectors @ second.vectors.T
        if first is second:  # each pair once
            products[np.tril_indices(len(products))] = -2
        left, right = np.nonzero(products >= threshold - ROUNDING)
        return first.rows[left], second.rows[right], products[left, right]

    with ThreadPoolExecutor(memory.usable_cores()) as pool:
        # Each round reads the file once: it keeps some tiles and compares them with all later ones.
        for start in range(0, tiles, _KEPT):
            kept = []
            for tile in islice(_tiles(chunks), start, None):
                if start == 0:
                    unusable += int(np.isnan(tile.vectors[:, 0]).sum())
                if len(kept) < _KEPT:
                    kept.append(tile)
                for pairs in pool.map(compare, kept, [tile] * len(kept)):
                    found.add(*pairs)
                done += len(kept)
                on_progress(done / todo)
    return found.result(), unusable


@dataclass(frozen=True)
class _Tile:
    vectors: FloatArray
    rows: Rows


def _tiles(chunks: Sequence[Callable[[], Iterator[Block]]]) -> Iterator[_Tile]:
    """All vectors, in tiles that are full but for the last one."""
    vectors: list[FloatArray] = []
    rows: list[Rows] = []
    count = 0
    for chunk in chunks:
        for own, numbers in unit(chunk(), _TILE):
            vectors.append(own)
            rows.append(numbers)
            count += len(own)
            if count >= _TILE:
                joined, names = np.concatenate(vectors), np.concatenate(rows)
                yield _Tile(joined[:_TILE], names[:_TILE])
                vectors, rows = [joined[_TILE:]], [names[_TILE:]]
                count -= _TILE
    if count:
        yield _Tile(np.concatenate(vectors), np.concatenate(rows))


class _Groups:
    """Groups that grow together where a pair joins them: a union-find structure."""

    def __init__(self, rows: int) -> None:
        #: of each row another row of its group; the group's first row names itself
        self._parents = np.arange(rows)
        self._scores: FloatArray = np.full(rows, -1, np.float32)

    def add(self, left: Rows, right: Rows, scores: FloatArray) -> None:
        """Join the groups of each pair."""
        np.maximum.at(self._scores, left, scores)
        np.maximum.at(self._scores, right, scores)
        roots = np.stack([self._roots(left), self._roots(right)], axis=1)
        roots = roots[roots[:, 0] != roots[:, 1]]
        for first, second in np.unique(roots, axis=0).tolist() if len(roots) else ():
            a, b = self._root(first), self._root(second)
            self._parents[max(a, b)] = min(a, b)

    def result(self) -> list[Group]:
        """All groups of more than one row."""
        rows = np.flatnonzero(self._scores > -1)
        roots = self._roots(rows)
        order = np.argsort(roots, kind="stable")
        _, starts = np.unique(roots[order], return_index=True)
        few = [Group(own, self._scores[own]) for own in np.split(rows[order], starts[1:])]
        return sorted(few if len(rows) else [], key=lambda group: (-len(group.rows), group.rows[0]))

    def _roots(self, rows: Rows) -> Rows:
        while True:
            above = self._parents[rows]
            if np.array_equal(above, rows):
                return rows
            rows = above

    def _root(self, row: int) -> int:
        while self._parents[row] != row:
            self._parents[row] = self._parents[self._parents[row]]
            row = int(self._parents[row])
        return row
