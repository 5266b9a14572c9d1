# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Writes output files in such a way that an interruption leaves no incomplete result."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import orjson

from app.cli.problems import Failed, UsageError
from app.engines.base import FloatArray
from app.library.folders import Failure

Row = dict[str, Any]


def write(path: Path, fill: Callable[[BinaryIO], object]) -> None:
    """Write a file under a temporary name, then rename it. Raises OSError."""
    partial = unfinished(path)
    with partial.open("wb") as file:
        fill(file)
    os.replace(partial, path)


def unfinished(path: Path) -> Path:
    """The temporary name of a file."""
    return path.with_name(f".{path.name}.partial")


def lock(descriptor: int, name: Path, *, shared: bool = False) -> None:
    """Lock an output until this process ends.

    Args:
        descriptor: of the open file or folder.
        name: of the output, for the message.
        shared: with other runs that share it.

    Raises:
        UsageError: another run has locked it.
    """
    with suppress(OSError):  # some network file systems do not support locks
        try:
            kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(f"another run writes to {name}; wait for its end") from None


def list_failures(failures: Sequence[Failure], path: Path) -> None:
    """Write one line per failure; delete the file if there are none. Raises Failed."""
    text = "".join(f"{failure}\n" for failure in failures)
    try:
        if failures:
            write(path, lambda file: file.write(text.encode("utf-8", "backslashreplace")))
        else:
            path.unlink(missing_ok=True)
    except OSError as error:
        raise Failed(f"{path} cannot be written ({error.strerror})") from None


class Journal:
    """An open .jsonl file of vectors, to which each row is appended as soon as it is computed.

    After a crash, therefore, at most the last line is incomplete.
    """

    def __init__(self, path: Path, made_with: Mapping[str, Any]) -> None:
        """Open or create the file and cut off an incomplete last line.

        Args:
            path: the file.
            made_with: fields that all rows must have in common, because vectors of another model
                or of other options cannot be compared.

        Raises:
            UsageError: the file has other content or other fields, or another run writes to it.
            OSError: the file cannot be opened.
        """
        self._path = path
        self._made_with = made_with
        self._file = path.open("a+b")
        lock(self._file.fileno(), path)
        #: paths of the images that have a row
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
        # orjson writes the numbers, as in HTTP answers, so that both have the same digits.
        numbers = orjson.dumps(vector, option=orjson.OPT_SERIALIZE_NUMPY)
        self._file.write(b'%b, "embedding": %b}\n' % (head[:-1].encode(), numbers))
        self._file.flush()
        self.done.add(path)

    def close(self) -> None:
        """Flush the file to disk and close it. Raises OSError."""
        os.fsync(self._file.fileno())
        self._file.close()

    def write_npz(self, path: Path) -> None:
        """Write all rows as NumPy arrays. Raises OSError.

        The arrays are ``paths`` [n] text, ``embeddings`` [n, dims] float32, and one for each field
        of ``made_with``.
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

        write(path, fill)

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
        return json.loads(line)  # orjson rejects the escapes of file names that are not UTF-8
