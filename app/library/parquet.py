# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Vectors in a Parquet file, which are read a page at a time."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from app.library import pages
from app.library.pages import Floats, OddPage
from app.library.part import MadeWith, Part, hashes, unreadable

#: columns beside the vectors that ``embed`` writes and that are read here
_MADE_WITH = ("model", "revision", "preprocess_version")
_VECTOR = "embedding"
_NEEDED = ("model", _VECTOR)
#: metadata that ``embed`` writes; a row of its files has either a vector or an error
_OURS = b"twinlens.version"
_IMAGE_SIZE = b"twinlens.image_size"

#: what reading damaged pages raises; their headers may say anything
_DAMAGED = (
    OddPage,
    pa.ArrowException,
    LookupError,
    OverflowError,
    RecursionError,
    TypeError,
    ValueError,
)

Rows = NDArray[np.int64]


class ParquetPart(Part):
    """A Parquet file; its portions are its row groups."""

    def __init__(self, path: Path) -> None:
        """Read all columns but the vectors. Raises BadRequest, OSError."""
        self._path = path
        try:
            with pq.ParquetFile(path) as file:
                self._open(file)
        except pa.ArrowException as error:
            raise unreadable(path, f"it is no Parquet file, or damaged ({error})") from None

    def _open(self, file: pq.ParquetFile) -> None:
        columns = file.schema_arrow.names
        self._id = "id" if "id" in columns else "path"
        self._shown = "path" if "path" in columns else "id"
        for name in (*_NEEDED, self._id):
            if name not in columns:
                raise unreadable(
                    self._path, f"it has no column {name!r}; embed writes files that have it"
                )
        metadata = file.schema_arrow.metadata or {}
        self._is_ours = _OURS in metadata
        size = metadata.get(_IMAGE_SIZE, b"")
        #: of all pictures; None: the model's own, or the file does not tell
        self._image_size = (int(size) or None) if size.isdigit() else None
        self.rows = file.metadata.num_rows
        self.chunks = file.metadata.num_row_groups
        sizes = [file.metadata.row_group(group).num_rows for group in range(self.chunks)]
        self._starts = np.cumsum([0, *sizes])
        self.dims = self._find_dims(file)
        leaves = [file.schema.column(i).path for i in range(len(file.schema))]
        #: number of the column of numbers below the column of vectors
        self._leaf = next(i for i, path in enumerate(leaves) if path.split(".")[0] == _VECTOR)
        self.ids = np.empty(self.rows, np.int64)
        self.has_vector = np.empty(self.rows, np.bool_)
        #: of each row group, which rows have a vector in the file, even if they have an error, too
        self._stored: list[NDArray[np.bool_]] = []
        self.made_with = Counter()
        for group in range(self.chunks):
            self._open_group(file, group)

    def _open_group(self, file: pq.ParquetFile, group: int) -> None:
        wanted = [self._id, "error", *_MADE_WITH]
        names = [name for name in wanted if name in file.schema_arrow.names]
        table = file.read_row_group(group, names)
        here = slice(self._starts[group], self._starts[group + 1])
        ids = table[self._id]
        if ids.null_count:  # else paths need not be read
            ids = _filled(ids, file.read_row_group(group, [self._shown])[self._shown])
        self.ids[here] = hashes(map(str, ids.to_pylist()), len(table))
        fine = np.ones(len(table), np.bool_)
        if "error" in names:
            fine = table["error"].is_null().to_numpy()
        stored = self._rows_stored(file, group, fine)
        self._stored.append(stored)
        self.has_vector[here] = fine & stored
        by = [name for name in _MADE_WITH if name in names]
        rows = table.select(by).filter(pa.array(self.has_vector[here]))
        for row in rows.group_by(by).aggregate([([], "count_all")]).to_pylist():
            count = row.pop("count_all")
            if row["model"] is None:
                raise unreadable(self._path, "it has vectors without the name of their model")
            self.made_with[MadeWith(**row, image_size=self._image_size)] += count

    def _rows_stored(
        self, file: pq.ParquetFile, group: int, fine: NDArray[np.bool_]
    ) -> NDArray[np.bool_]:
        """Which rows of a row group have a vector. Of our own files the other columns tell."""
        chunk = file.metadata.row_group(group).column(self._leaf)
        nulls = chunk.statistics.null_count if chunk.is_stats_set else None
        rows = len(fine)
        if nulls == 0 and chunk.num_values == rows * self.dims:
            return np.ones(rows, np.bool_)
        failed = rows - int(fine.sum())
        if self._is_ours and chunk.num_values == (rows - failed) * self.dims + failed:
            return fine
        column = file.read_row_group(group, [_VECTOR])[_VECTOR]
        valid: NDArray[np.bool_] = column.is_valid().to_numpy()
        return valid

    def _find_dims(self, file: pq.ParquetFile) -> int:
        kind = file.schema_arrow.field(_VECTOR).type
        is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind)
        if not (is_list or pa.types.is_fixed_size_list(kind)) or not pa.types.is_floating(
            kind.value_type
        ):
            raise unreadable(self._path, f"its column {_VECTOR!r} has {kind}, not lists of floats")
        if not is_list:
            return int(kind.list_size)
        lengths: set[int] = set()
        for group in range(self.chunks):
            column = file.read_row_group(group, [_VECTOR])[_VECTOR]
            lengths |= set(pc.unique(pc.list_value_length(column)).to_pylist()) - {None}
        if len(lengths) > 1:
            raise unreadable(self._path, "its vectors differ in length")
        return lengths.pop() if lengths else 0

    def blocks(self, chunk: int) -> Iterator[tuple[Floats, Rows]]:
        """See the base class."""
        rows = np.flatnonzero(self._stored[chunk]) + self._starts[chunk]
        done = 0
        try:
            for vectors in self._vectors(chunk, len(rows)):
                yield vectors, rows[done : done + len(vectors)]
                done += len(vectors)
        except (*_DAMAGED, OSError) as error:
            raise unreadable(self._path, f"it is damaged, or was replaced ({error})") from None

    def _vectors(self, chunk: int, count: int) -> Iterator[Floats]:
        if not count:
            return
        with pq.ParquetFile(self._path) as file:
            column = pages.column(file, chunk, self._leaf)
            gaps = int((~self._stored[chunk]).sum())
            if column is None or column.values != count * self.dims + gaps:
                yield self._by_pyarrow(file, chunk)
                return
        descriptor = os.open(self._path, os.O_RDONLY)
        try:
            rest: Any = np.empty(0, column.type)
            for numbers in pages.numbers(descriptor, column):
                joined = np.concatenate([rest, numbers]) if len(rest) else numbers
                whole = len(joined) // self.dims
                rest = joined[whole * self.dims :]
                count -= whole
                yield joined[: whole * self.dims].reshape(whole, self.dims)
            if count or len(rest):
                raise OddPage("its pages have another number of vectors")
        finally:
            os.close(descriptor)

    def _by_pyarrow(self, file: pq.ParquetFile, chunk: int) -> Floats:
        column = file.read_row_group(chunk, [_VECTOR])[_VECTOR].drop_null().combine_chunks()
        flat = column.flatten()
        if flat.null_count:
            raise unreadable(self._path, "it has vectors with missing numbers")
        numbers: Floats = flat.to_numpy(zero_copy_only=False)
        return numbers.reshape(len(column), self.dims)

    def names(self, rows: Rows) -> list[tuple[str, str]]:
        """See the base class."""
        found: list[tuple[str, str]] = []
        try:
            with pq.ParquetFile(self._path) as file:
                for group in range(self.chunks):
                    start, end = self._starts[group : group + 2]
                    own = rows[(rows >= start) & (rows < end)] - start
                    if len(own):
                        table = file.read_row_group(group, [self._id, self._shown]).take(own)
                        ids = _filled(table[self._id], table[self._shown])
                        columns = ids.to_pylist(), table[self._shown].to_pylist()
                        found += zip(*(map(str, each) for each in columns), strict=True)
        except (pa.ArrowException, OSError) as error:
            raise unreadable(self._path, f"it was replaced while it was read ({error})") from None
        return found


def _filled(ids: pa.ChunkedArray, paths: pa.ChunkedArray) -> pa.ChunkedArray:
    """The ids, and the path instead of each that is missing."""
    if not ids.null_count:
        return ids
    return pc.coalesce(ids.cast(pa.string()), paths.cast(pa.string()))
