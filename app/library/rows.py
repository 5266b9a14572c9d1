# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""The columns of the Parquet files that ``embed`` and ``depth`` write.

pyarrow is imported inside functions, so that the service, which needs none of this, starts without
it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from config.version import VERSION

DType = Literal["float16", "float32"]
#: pyarrow.Schema and pyarrow.Table, which ship no types
Schema = Any
Table = Any

_REVISION = "twinlens.revision"


@dataclass(frozen=True)
class Row:
    """What became of one picture: a vector, a depth map, or an error."""

    id: str
    #: where the picture is, for people and programs that want to open it
    path: str
    model: str
    #: [dims]; None in lists of depth maps, and where the picture failed
    embedding: NDArray[np.floating] | None = None
    #: name of the file with the depth map, below the folder of all maps
    map: str | None = None
    #: of the upright picture, pixels
    width: int | None = None
    height: int | None = None
    #: commit of the checkpoint
    revision: str | None = None
    precision: str | None = None
    preprocess_version: int | None = None
    #: why the picture failed; None if it did not
    error: str | None = None


def schema(
    dims: int,
    dtype: DType = "float16",
    *,
    model: str,
    normalized: bool,
    image_size: int,
) -> Schema:
    """Columns of a table of vectors.

    Args:
        dims: numbers of a vector.
        dtype: of these numbers. In float16 a vector takes half the space; its direction stays the
            same to the sixth decimal of the cosine.
        model: key of the model.
        normalized: whether vectors have length 1.
        image_size: pixels of the shortest edge to which pictures were resized.
    """
    import pyarrow as pa

    number = pa.float16() if dtype == "float16" else pa.float32()
    facts = vector_facts(dtype, model=model, normalized=normalized, image_size=image_size)
    return _schema([("embedding", pa.list_(number, dims))], facts)


def vector_facts(dtype: DType, *, model: str, normalized: bool, image_size: int) -> dict[str, str]:
    """What all vectors of a table have in common, see ``schema``."""
    return {
        "model": model,
        "normalized": str(normalized).lower(),
        "image_size": str(image_size),
        "dtype": dtype,
    }


def maps_facts(*, model: str, options: str) -> dict[str, str]:
    """What all depth maps of a list have in common, see ``maps_schema``."""
    return {"model": model, "options": options}


def maps_schema(*, model: str, options: str) -> Schema:
    """Columns of a list of depth maps.

    Args:
        model: key of the model.
        options: everything that was asked of the maps, as text.
    """
    import pyarrow as pa

    return _schema([("map", pa.string())], maps_facts(model=model, options=options))


def _schema(result: Sequence[tuple[str, Any]], facts: Mapping[str, str]) -> Schema:
    import pyarrow as pa

    metadata = {"version": VERSION, **facts}
    fields = [
        ("id", pa.string()),
        ("path", pa.string()),
        *result,
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("model", pa.string()),
        ("revision", pa.string()),
        ("precision", pa.string()),
        ("preprocess_version", pa.int32()),
        ("error", pa.string()),
    ]
    return pa.schema(fields, {f"twinlens.{name}": value for name, value in metadata.items()})


def table(rows: Sequence[Row], schema: Schema) -> Table:
    """Rows as a table with these columns. Raises ArithmeticError if a number is too large for
    float16.
    """
    import pyarrow as pa

    columns = [
        _vectors(rows, field.type)
        if field.name == "embedding"
        else pa.array([getattr(row, field.name) for row in rows], field.type)
        for field in schema
    ]
    return pa.Table.from_arrays(columns, schema=schema)


def _vectors(rows: Sequence[Row], kind: Any) -> Any:
    import pyarrow as pa

    numbers = np.zeros((len(rows), kind.list_size), kind.value_type.to_pandas_dtype())
    for each, row in zip(numbers, rows, strict=True):
        if row.embedding is not None:
            with np.errstate(over="ignore"):
                each[:] = row.embedding
    if not (finite := np.isfinite(numbers).all(axis=1)).all():
        row = rows[int(np.argmin(finite))]
        raise ArithmeticError(
            f"the vector of {row.path} has numbers that are too large for float16: choose another "
            "-o, and use --float32"
        )
    missing = pa.array([row.embedding is None for row in rows], pa.bool_())
    flat = pa.array(numbers.reshape(-1))
    return pa.FixedSizeListArray.from_arrays(flat, type=kind, mask=missing)


def facts(schema: Schema) -> dict[str, str]:
    """What a file says of all its rows, without ``version`` and ``revision``: two runs that agree
    in it, and in the columns, may write to the same output.
    """
    metadata = schema.metadata or {}
    names = {name.decode(): value.decode() for name, value in metadata.items()}
    return {
        name.removeprefix("twinlens."): value
        for name, value in names.items()
        if name.startswith("twinlens.") and name not in ("twinlens.version", _REVISION)
    }


def with_revision(schema: Schema, revision: str) -> Schema:
    """The same columns, for rows that are made with this commit of the checkpoint."""
    return schema.with_metadata({**schema.metadata, _REVISION: revision})


def revision_of(schema: Schema) -> str | None:
    """The commit of the checkpoint that rows are made with; older files do not say it here."""
    found = (schema.metadata or {}).get(_REVISION.encode())
    return found.decode() if found else None
