# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Gives each picture the labels that fit it, without training: zero-shot classification."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from app.host import atomic
from app.library.nearest import FloatArray, unit
from app.library.reading import Rows, Vectors
from app.library.scoring import Scoring
from app.library.store import unfinished


@dataclass(frozen=True)
class Best:
    """Of some pictures the best labels, best first."""

    rows: Rows
    #: [pictures, k] numbers of labels
    labels: Rows
    scores: FloatArray
    cosines: FloatArray


def label(vectors: Vectors, labels: FloatArray, scoring: Scoring, k: int) -> Iterator[Best]:
    """Compare each picture with each label, and keep the ``k`` best labels of each.

    Args:
        vectors: of the pictures.
        labels: vectors of length 1 [n, dims], of the labels.
        scoring: how scores are made.
        k: labels of each picture.
    """
    for chunk in vectors.chunks():
        few = [_best(own, rows, labels, scoring, k) for own, rows in unit(chunk())]
        if few:
            yield Best(*(np.concatenate(each) for each in zip(*map(astuple, few), strict=True)))


def _best(own: FloatArray, rows: Rows, labels: FloatArray, scoring: Scoring, k: int) -> Best:
    fine = ~np.isnan(own[:, 0])
    cosines = own[fine] @ labels.T
    scores = scoring.scores(cosines)
    best = np.argsort(-cosines, axis=1, kind="stable")[:, :k]
    return Best(
        rows[fine],
        best,
        np.take_along_axis(scores, best, axis=1),
        np.take_along_axis(cosines, best, axis=1),
    )


_COLUMNS = [
    ("id", pa.string()),
    ("path", pa.string()),
    ("tag", pa.string()),
    ("score", pa.float32()),
    ("cosine", pa.float32()),
    ("rank", pa.int32()),
]


def write(
    path: Path,
    vectors: Vectors,
    names: Sequence[str],
    found: Iterator[Best],
    scoring: Scoring,
    threshold: float | None,
    check_cancelled: Callable[[], None],
) -> tuple[int, int]:
    """Write a row for each picture and label to a Parquet file, which appears when it is complete.

    Args:
        path: the file.
        vectors: of the pictures.
        names: of the labels.
        found: what ``label`` gives.
        scoring: noted in the file's metadata.
        threshold: the lowest score of a label that is written; None writes all.
        check_cancelled: raises an exception to end it.

    Returns:
        The number of rows, and of vectors without a direction, whose pictures have no row.

    Raises:
        OSError: the file cannot be written.
    """
    metadata = {
        "twinlens.model": vectors.made_with.model,
        "twinlens.score": scoring.kind,
        "twinlens.scale": repr(scoring.scale),
        "twinlens.bias": repr(scoring.bias),
    }
    schema = pa.schema(_COLUMNS, metadata)
    count, unusable = 0, vectors.count
    with (
        atomic.writing(path, unfinished(path)) as file,
        pq.ParquetWriter(file, schema, compression="zstd") as writer,
    ):
        for best in found:
            check_cancelled()
            table = _table(best, vectors, names, threshold, schema)
            count += len(table)
            unusable -= len(best.rows)
            writer.write_table(table)
    return count, unusable


def _table(
    best: Best, vectors: Vectors, names: Sequence[str], threshold: float | None, schema: pa.Schema
) -> pa.Table:
    count, k = best.labels.shape
    named = vectors.names(best.rows)
    wanted = np.ones(best.scores.shape, np.bool_) if threshold is None else best.scores >= threshold
    flat = wanted.ravel()
    columns = (
        np.repeat(np.array([id for id, _ in named], object), k),
        np.repeat(np.array([path for _, path in named], object), k),
        np.array(names, object)[best.labels].ravel(),
        best.scores.ravel(),
        best.cosines.ravel(),
        np.tile(np.arange(1, k + 1), count),
    )
    cells = [pa.array(each[flat], kind) for each, (_, kind) in zip(columns, _COLUMNS, strict=True)]
    return pa.Table.from_arrays(cells, schema=schema)
