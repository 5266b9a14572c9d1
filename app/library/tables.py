# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Reads and writes the Parquet files of a store, a few thousand rows at a time."""

from __future__ import annotations

import io
import json
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from app.errors import BadRequest
from app.library.ids import Ids
from app.library.rows import Schema, Table
from app.library.store import Store, unfinished

#: names of the parts whose rows a part has taken over
_REPLACES = b"parts.replaces"
_BATCH_ROWS = 8192
_GROUP_ROWS = 32_768
# Bytes that are read from a column at a time.
_BUFFER = 2**20

Batch = Any


def options(schema: Schema) -> dict[str, Any]:
    """How tables with these columns are written.

    Vectors hardly get smaller, and without compression they are read many times as fast.
    """
    repeated = ["model", "revision", "precision", "error"]
    texts = {name: "zstd" for name in schema.names if name != "embedding"}
    return {
        "use_dictionary": [name for name in repeated if name in schema.names],
        "compression": texts | {"embedding.list.element": "none"},
        "write_statistics": ["id"],
    }


def encoded(table: Table) -> memoryview:
    """A table as a Parquet file."""
    import pyarrow.parquet as pq

    file = io.BytesIO()
    pq.write_table(table, file, row_group_size=_GROUP_ROWS, **options(table.schema))
    return file.getbuffer()


def schema_of(store: Store, name: str) -> Schema:
    """The columns of a file, and what it says of all its rows. Raises BadRequest."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with store.open(name) as file:
            return pq.read_schema(file)
    except pa.ArrowException:
        raise BadRequest(f"{store.address}/{name} is no Parquet file; choose another -o") from None


def replaced(schema: Schema) -> list[str]:
    """Names of the parts whose rows a part has taken over."""
    names: list[str] = json.loads((schema.metadata or {}).get(_REPLACES, b"[]"))
    return names


def batches(store: Store, name: str, columns: Sequence[str] | None = None) -> Iterator[Batch]:
    """The rows of a file, some thousands at a time."""
    import pyarrow.parquet as pq

    with (
        store.open(name) as file,
        # Without these two, all row groups would be in memory at once.
        pq.ParquetFile(file, pre_buffer=False, buffer_size=_BUFFER) as table,
    ):
        yield from table.iter_batches(_BATCH_ROWS, columns=columns)


def write(store: Store, name: str, schema: Schema, rows: Iterable[Batch]) -> None:
    """Write a file of any length, or replace it. Raises OSError."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with tempfile.TemporaryDirectory(prefix="twinlens-") as folder:
        # A file can only be renamed within its own disk.
        fresh = unfinished(store.folder / name) if store.folder else Path(folder, "rows")
        try:
            with pq.ParquetWriter(fresh, schema, **options(schema)) as file:
                waiting: list[Batch] = []
                for batch in rows:
                    waiting.append(pa.RecordBatch.from_arrays(batch.columns, schema=schema))
                    if sum(each.num_rows for each in waiting) >= _GROUP_ROWS:
                        file.write_table(pa.Table.from_batches(waiting, schema))
                        waiting = []
                if waiting:
                    file.write_table(pa.Table.from_batches(waiting, schema))
            store.put(fresh, name)
        except BaseException:
            fresh.unlink(missing_ok=True)
            raise


def replacing(schema: Schema, names: Sequence[str]) -> Schema:
    """The same columns for a part that takes over the rows of others."""
    metadata = {**(schema.metadata or {}), _REPLACES: json.dumps(list(names)).encode()}
    return schema.with_metadata(metadata)


def plain(schema: Schema) -> Schema:
    """The same columns for a part that takes over no rows."""
    metadata = {name: value for name, value in schema.metadata.items() if name != _REPLACES}
    return schema.with_metadata(metadata)


def without_errors(rows: Iterable[Batch]) -> Iterator[Batch]:
    """The rows of pictures that did not fail."""
    for batch in rows:
        yield batch.filter(batch.column("error").is_null())


def new_rows(batches: Iterable[Batch], seen: Ids) -> Iterator[Batch]:
    """The rows whose ids were not seen yet."""
    import pyarrow as pa

    for batch in batches:
        fresh = [seen.add(id) for id in batch.column("id").to_pylist()]
        yield batch if all(fresh) else batch.filter(pa.array(fresh, pa.bool_()))
