# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Vectors on disk: a line of JSON for each image, written as soon as it is known."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import orjson

from app.cli import outputs
from app.cli.problems import UsageError
from app.engines.base import FloatArray

Row = dict[str, Any]


class Journal:
    """An open .jsonl file; whatever happens, all its lines but the last are whole."""

    def __init__(self, path: Path, made_with: Mapping[str, Any]) -> None:
        """Open it, make it if need be, cut off a last line that was not written to its end.

        Args:
            path: the file.
            made_with: fields that every row has in common, since vectors that were made in
                different ways cannot be compared.

        Raises:
            UsageError: it holds something else, or another run writes to it.
            OSError: it cannot be opened.
        """
        self._path = path
        self._made_with = made_with
        self._file = path.open("a+b")
        outputs.lock(self._file.fileno(), path)
        #: paths that have their row
        self.done: set[str] = set()
        whole = 0
        for number, line in enumerate(self._lines(), 1):
            if line.endswith(b"\n"):
                self.done.add(self._row(line, number)["path"])
                whole += len(line)
        self._file.truncate(whole)

    def add(self, path: str, vector: FloatArray, extra: Mapping[str, Any]) -> None:
        """Append a row. Raises OSError."""
        head = json.dumps({"path": path, **self._made_with, "dims": vector.size, **extra})
        # The numbers as the HTTP answers have them.
        numbers = orjson.dumps(vector, option=orjson.OPT_SERIALIZE_NUMPY)
        self._file.write(b'%b, "embedding": %b}\n' % (head[:-1].encode(), numbers))
        self._file.flush()
        self.done.add(path)

    def close(self) -> None:
        """Onto the disk. Raises OSError."""
        os.fsync(self._file.fileno())
        self._file.close()

    def write_npz(self, path: Path) -> None:
        """All rows as arrays: ``paths`` [n] text, ``embeddings`` [n, dims] float32, and what they
        were made with. Raises OSError.
        """
        embeddings: FloatArray = np.empty((0, 0), np.float32)
        paths: list[str] = []
        for number, line in enumerate(self._lines(), 1):
            row = self._row(line, number)
            if not paths:
                embeddings = np.empty((len(self.done), row["dims"]), np.float32)
            embeddings[len(paths)] = row["embedding"]
            paths.append(row["path"])
        arrays = {name: np.array(value) for name, value in self._made_with.items()}
        arrays |= {"paths": np.array(paths, np.str_), "embeddings": embeddings}

        def fill(file: BinaryIO) -> None:
            np.savez(file, allow_pickle=False, **arrays)

        outputs.write(path, fill)

    def _lines(self) -> Iterator[bytes]:
        self._file.seek(0)
        yield from self._file

    def _row(self, line: bytes, number: int) -> Row:
        try:
            row: Row = _parsed(line)
            found = {name: row[name] for name in self._made_with}
            if not isinstance(row["path"], str):
                raise TypeError
        except (ValueError, KeyError, TypeError):
            raise UsageError(
                f"{self._path}: line {number} is no row of vectors; choose another -o"
            ) from None
        if found != self._made_with:
            raise UsageError(
                f"{self._path} has vectors made with {_shown(found)}, not with "
                f"{_shown(self._made_with)}; choose another -o"
            )
        return row


def _shown(made_with: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in made_with.items())


def _parsed(line: bytes) -> Any:
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError:
        return json.loads(line)  # file names that are not UTF-8, which only Python writes
