# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Opens what ``embed`` has written: a Parquet file, a folder of its parts, .jsonl or .npz."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from app.errors import BadRequest
from app.library import addresses, arrays, parquet
from app.library.pages import Floats
from app.library.part import MadeWith, Part, unreadable

Rows = NDArray[np.int64]

SUFFIXES = (".parquet", ".jsonl", ".npz")


@dataclass(frozen=True)
class Block:
    """Some vectors, and the rows that they belong to."""

    #: [n, dims], of any length
    vectors: Floats
    #: numbers of the rows in the library, counted from 0 over all parts
    rows: Rows


class Vectors:
    """The vectors of one model in one space. Opening reads everything but the vectors."""

    def __init__(self, name: str, parts: Sequence[Part]) -> None:
        """Check that all parts belong together; raises BadRequest if not."""
        self.name = name
        self._parts = parts
        self.made_with = _common(name, parts)
        self.dims = _dims(name, parts)
        self._starts = np.cumsum([0, *(part.rows for part in parts)])
        has_vector = np.concatenate([part.has_vector for part in parts])
        ids = np.concatenate([part.ids for part in parts])
        #: of each row, whether it is the one that counts for its id
        self._kept = _first_of_each(ids, has_vector)
        #: number of rows of all parts
        self.rows = len(ids)
        #: number of pictures that have a vector
        self.count = int(self._kept.sum())
        #: rows that repeat the id of another one; each id counts once
        self.repeated = int(has_vector.sum()) - self.count
        #: pictures without a vector, because they failed
        self.failed = len(np.unique(ids)) - self.count

    def chunks(self) -> list[Callable[[], Iterator[Block]]]:
        """The vectors in portions, in the order of the rows, which threads may read in parallel."""
        return [
            partial(self._blocks, part, chunk, int(start))
            for part, start in zip(self._parts, self._starts, strict=False)
            for chunk in range(part.chunks)
        ]

    def names(self, rows: Rows) -> list[tuple[str, str]]:
        """Id and path of each of these rows."""
        found: dict[int, tuple[str, str]] = {}
        wanted = np.unique(rows)
        for part, start in zip(self._parts, self._starts, strict=False):
            own = wanted[(wanted >= start) & (wanted < start + part.rows)]
            if len(own):
                found |= zip(own.tolist(), part.names(own - start), strict=True)
        return [found[row] for row in rows.tolist()]

    def _blocks(self, part: Part, chunk: int, start: int) -> Iterator[Block]:
        for vectors, rows in part.blocks(chunk):
            kept = self._kept[rows + start]
            if kept.all():
                yield Block(vectors, rows + start)
            elif kept.any():
                yield Block(vectors[kept], rows[kept] + start)


def open_vectors(name: str) -> Vectors:
    """Open a file or a folder of vectors.

    Raises:
        BadRequest: it is none, or has no vectors that can be compared with each other.
    """
    path = Path(name)
    if not addresses.is_local(name):
        raise BadRequest(
            f"{name} is read many times faster from a disk: copy it to this machine first",
            title="No vectors",
        )
    try:
        return Vectors(name, [_part(file) for file in _files(path)])
    except OSError as error:
        raise unreadable(path, error.strerror or str(error)) from None


def _files(path: Path) -> list[Path]:
    if path.is_dir():
        # A hidden file is one that is being written.
        files = sorted(file for file in path.glob("*.parquet") if not file.name.startswith("."))
        if not files:
            raise unreadable(path, "it is a folder without .parquet files")
        return files
    if not path.exists():
        parts = path.with_name(f"{path.name}.parts")
        if parts.is_dir():
            raise unreadable(
                path,
                f"it is not finished. Run the same embed again, or search what there is: {parts}",
            )
        raise unreadable(path, "it does not exist")
    if path.suffix not in SUFFIXES:
        raise unreadable(path, f"allowed: a folder, or a name that ends in {', '.join(SUFFIXES)}")
    return [path]


def _part(file: Path) -> Part:
    if file.suffix == ".parquet":
        return parquet.ParquetPart(file)
    return arrays.jsonl(file) if file.suffix == ".jsonl" else arrays.npz(file)


def _common(name: str, parts: Sequence[Part]) -> MadeWith:
    counts: Counter[MadeWith] = Counter()
    for part in parts:
        counts.update(part.made_with)
    if not counts:
        failed = sum(part.rows for part in parts)
        raise unreadable(
            Path(name),
            f"it has no vectors, only {failed} rows that failed" if failed else "it has no rows",
        )
    if len(counts) > 1:
        listed = ", ".join(f"{made} ({count} rows)" for made, count in counts.most_common())
        raise BadRequest(
            f"{name} has vectors that cannot be compared with each other: {listed}. Make them "
            "again, all in the same way, with a new -o: python -m app embed ... --model "
            f"{counts.most_common(1)[0][0].model}",
            title="Mixed vectors",
        )
    return next(iter(counts))


def _dims(name: str, parts: Sequence[Part]) -> int:
    dims = {part.dims for part in parts if part.has_vector.any()}
    if len(dims) > 1:
        text = " and ".join(map(str, sorted(dims)))
        raise unreadable(Path(name), f"it has vectors of {text} dimensions")
    return dims.pop()


def _first_of_each(ids: NDArray[np.int64], has_vector: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Mark the first row with a vector of each id."""
    rows = np.flatnonzero(has_vector)
    _, first = np.unique(ids[rows], return_index=True)
    if len(first) == len(rows):
        return has_vector
    kept = np.zeros_like(has_vector)
    kept[rows[first]] = True
    return kept
