# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Vectors in .jsonl and .npz files, which are read into memory as a whole."""

from __future__ import annotations

import json
import zipfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from app.library.pages import Floats
from app.library.part import MadeWith, Part, hashes, unreadable

_CHUNK = 16_384  # rows
# What files say of vectors beside their model; older ones do not.
_MADE_WITH = ("revision", "preprocess_version", "image_size")


class ArrayPart(Part):
    """Vectors in memory."""

    def __init__(
        self,
        names: Sequence[tuple[str, str]],
        vectors: Floats,
        has_vector: NDArray[np.bool_],
        made_with: Counter[MadeWith],
    ) -> None:
        """``vectors`` has a row for each true value of ``has_vector``."""
        self.rows, self.dims = len(names), vectors.shape[1]
        self.ids = hashes((id for id, _ in names), len(names))
        self.has_vector = has_vector
        self.made_with = made_with
        self.chunks = -(-len(vectors) // _CHUNK)
        self._names = names
        self._vectors = vectors
        self._rows = np.flatnonzero(has_vector)

    def blocks(self, chunk: int) -> Iterator[tuple[Floats, NDArray[np.int64]]]:
        """See the base class."""
        part = slice(chunk * _CHUNK, (chunk + 1) * _CHUNK)
        yield self._vectors[part], self._rows[part]

    def names(self, rows: NDArray[np.int64]) -> list[tuple[str, str]]:
        """See the base class."""
        return [self._names[row] for row in rows.tolist()]


def jsonl(path: Path) -> ArrayPart:
    """Read lines of JSON as ``embed`` writes them. Raises BadRequest, OSError."""
    names: list[tuple[str, str]] = []
    vectors: list[NDArray[np.float32]] = []
    has_vector: list[bool] = []
    made_with: Counter[MadeWith] = Counter()
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                row = parsed(line)
            except ValueError:
                if not line.endswith(b"\n"):
                    break  # embed was interrupted here, or is writing it
                raise unreadable(path, f"line {number} is no row of vectors") from None
            try:
                name, id = row["path"], row.get("id")
                if name is None:
                    raise ValueError
                names.append((str(name if id is None else id), str(name)))
                has_vector.append(row.get("error") is None)
                if not has_vector[-1]:
                    continue
                vectors.append(np.array(row["embedding"], np.float32))
                made = {name: row.get(name) for name in _MADE_WITH}
                made_with[MadeWith(row["model"], **made)] += 1
            except (ValueError, KeyError, TypeError, AttributeError):
                raise unreadable(path, f"line {number} is no row of vectors") from None
            if vectors[-1].ndim != 1 or len(vectors[-1]) != len(vectors[0]):
                raise unreadable(path, f"the vector in line {number} has another length")
    stacked = np.stack(vectors) if vectors else np.empty((0, 0), np.float32)
    return ArrayPart(names, stacked, np.array(has_vector, np.bool_), made_with)


def npz(path: Path) -> ArrayPart:
    """Read arrays as ``embed`` writes them. Raises BadRequest, OSError."""
    try:
        with np.load(path, allow_pickle=False) as found:
            paths, vectors = found["paths"].tolist(), found["embeddings"]
            made = {name: found[name].item() for name in _MADE_WITH if name in found}
            made_with = MadeWith(str(found["model"]), **made)
    except (ValueError, TypeError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise unreadable(path, f"it is not written by embed ({error})") from None
    if vectors.ndim != 2 or len(vectors) != len(paths) or vectors.dtype.kind != "f":
        raise unreadable(path, "its arrays paths and embeddings do not belong together")
    names = [(str(name), str(name)) for name in paths]
    counted = Counter({made_with: len(names)} if names else {})
    return ArrayPart(names, vectors, np.ones(len(names), np.bool_), counted)


def parsed(line: bytes) -> Any:
    """What a line of JSON says that ``embed`` has written. Raises ValueError."""
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError:
        return json.loads(line)  # orjson rejects the escapes of file names that are not UTF-8
