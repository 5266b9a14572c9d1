# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Writes vectors as the program clip-retrieval reads them.

Those are pairs of files, img_emb/img_emb_0.npy with an array [n, dims] and
metadata/metadata_0.parquet with a row for each vector, which has the picture's ``image_path``.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from app.library import tables
from app.library.ids import Ids
from app.library.store import Store

# Rows of a pair of files, and thereby of what is in memory.
_MOST_ROWS = 65_536
_OURS = re.compile(r"img_emb/img_emb_[0-9]+\.npy|metadata/metadata_[0-9]+\.parquet")
_COLUMNS = ["path", "id", "width", "height", "model", "revision"]


def export(parts: Store, out: Store) -> None:
    """Write all vectors of a folder of parts. Raises OSError."""
    # Numbers have as many digits as the last one, so that sorted names keep their order.
    total = sum(batch.num_rows for batch in _batches(parts, ["id", "error"]))
    digits = len(str(max(0, total - 1) // _MOST_ROWS))
    written = set()
    for number, batches in enumerate(_groups(_batches(parts))):
        mark = str(number).zfill(digits)
        vectors, metadata = f"img_emb/img_emb_{mark}.npy", f"metadata/metadata_{mark}.parquet"
        _write(batches, out, vectors, metadata)
        written |= {vectors, metadata}
    # An export of fewer rows has numbers with fewer digits. Its files would count a second time.
    for folder in ("img_emb", "metadata"):
        for name in Store(f"{out.address}/{folder}").names():
            path = f"{folder}/{name}"
            if _OURS.fullmatch(path) and path not in written:
                out.remove(path)


def _write(batches: Sequence[tables.Batch], out: Store, vectors: str, metadata: str) -> None:
    import pyarrow as pa

    table = pa.Table.from_batches(batches)
    column = table.column("embedding").combine_chunks()
    numbers = column.flatten().to_numpy().reshape(table.num_rows, -1)
    file = io.BytesIO()
    np.save(file, numbers)
    out.write(vectors, file.getbuffer())
    rows = table.select(_COLUMNS).rename_columns(["image_path", *_COLUMNS[1:]])
    out.write(metadata, tables.encoded(rows.replace_schema_metadata()))


def _groups(batches: Iterable[tables.Batch]) -> Iterator[list[tables.Batch]]:
    """Batches together, such that all groups but the last have ``_MOST_ROWS`` rows."""
    group: list[tables.Batch] = []
    room = _MOST_ROWS
    for batch in batches:
        rest = batch
        while rest.num_rows:
            piece, rest = rest.slice(0, room), rest.slice(room)
            group.append(piece)
            room -= piece.num_rows
            if not room:
                yield group
                group, room = [], _MOST_ROWS
    if group:
        yield group


def _batches(parts: Store, columns: Sequence[str] | None = None) -> Iterator[tables.Batch]:
    """The rows with a vector, each id once."""
    seen = Ids()
    for name in parts.names():
        if name.endswith(".parquet"):
            rows = tables.batches(parts, name, columns)
            yield from tables.new_rows(tables.without_errors(rows), seen)
