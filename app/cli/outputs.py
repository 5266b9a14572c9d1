# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Writes output files in such a way that an interruption leaves no incomplete result."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import orjson

from app.cli.problems import Failed, UsageError
from app.engines.base import FloatArray
from app.host import atomic
from app.library.arrays import parsed
from app.library.folders import Failure
from app.library.store import unfinished

Row = dict[str, Any]

# What all rows have in common, too, but is known only when a vector is made.
_CHECKPOINT = ("revision", "preprocess_version")
# Each row begins like this.
_BEGINNING = b'{"path": "'


def writing(path: Path) -> AbstractContextManager[BinaryIO]:
    """A file to write to, which has its name when the block ends, and is gone if that raises.

    Raises OSError.
    """
    return atomic.writing(path, unfinished(path))


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
            with writing(path) as file:
                file.write(text.encode("utf-8", "backslashreplace"))
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
            UsageError: the file has other content, other fields or vectors that cannot be compared
                with each other, or another run writes to it.
            OSError: the file cannot be opened.
        """
        self._path = path
        self._made_with = made_with
        #: of all rows; None as long as there are none
        self._checkpoint: dict[str, Any] | None = None
        self._file = path.open("a+b")
        #: paths of the images that have a row
        self.done: set[str] = set()
        try:
            lock(self._file.fileno(), path)
            self._file.truncate(self._read())
        except BaseException:
            self._file.close()
            raise

    def add(self, path: str, vector: FloatArray, extra: Mapping[str, Any]) -> None:
        """Append a row.

        Args:
            path: of the image.
            vector: [dims].
            extra: more fields, among them ``revision`` and ``preprocess_version``.

        Raises:
            Failed: these two differ from those of the rows before.
            OSError: it cannot be written.
        """
        checkpoint = {name: extra.get(name) for name in _CHECKPOINT}
        if self._checkpoint not in (None, checkpoint):
            raise Failed(self._differ(self._checkpoint, checkpoint))
        self._checkpoint = checkpoint
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
        that all rows have in common, if it is known.
        """
        embeddings: FloatArray = np.empty((0, 0), np.float32)
        paths: list[str] = []
        seen: set[str] = set()
        for number, line in enumerate(self._lines(), 1):
            row = self._row(line, number)
            if not paths:
                embeddings = np.empty((len(self.done), row["dims"]), np.float32)
            if row["path"] in seen:  # as in a file that somebody made of two
                continue
            seen.add(row["path"])
            embeddings[len(paths)] = row["embedding"]
            paths.append(row["path"])
        common = {**self._made_with, **(self._checkpoint or {})}
        arrays = {name: np.array(value) for name, value in common.items() if value is not None}
        arrays |= {"paths": np.array(paths, np.str_), "embeddings": embeddings}
        with writing(path) as file:
            np.savez(file, allow_pickle=False, **arrays)

    def _read(self) -> int:
        """Check all rows; returns the length of those that are complete."""
        whole = 0
        for number, line in enumerate(self._lines(), 1):
            if line.endswith(b"\n"):
                self.done.add(self._row(line, number)["path"])
                whole += len(line)
            elif number == 1 and not _is_interrupted(line):
                self._row(line, number)  # raises UsageError for the file of another program
        return whole

    def _lines(self) -> Iterator[bytes]:
        self._file.seek(0)
        yield from self._file

    def _row(self, line: bytes, number: int) -> Row:
        try:
            row: Row = parsed(line)
            found = {name: row[name] for name in self._made_with}
            if not isinstance(row["path"], str):
                raise TypeError
        except (ValueError, KeyError, TypeError):
            raise UsageError(
                f"{self._path}: line {number} is no row of vectors; choose another -o"
            ) from None
        checkpoint = {name: row.get(name) for name in _CHECKPOINT}
        self._checkpoint = self._checkpoint or checkpoint
        for before, now in ((found, self._made_with), (self._checkpoint, checkpoint)):
            if before != now:
                raise UsageError(self._differ(before, now))
        return row

    def _differ(self, before: Mapping[str, Any] | None, now: Mapping[str, Any]) -> str:
        return (
            f"{self._path} has vectors made with {_shown(before or {})}, not with {_shown(now)}; "
            "choose another -o"
        )


def _is_interrupted(line: bytes) -> bool:
    """Whether a line may be the beginning of a row, which a killed run has left."""
    try:
        parsed(line)
    except ValueError:
        return line[: len(_BEGINNING)] == _BEGINNING[: len(line)]
    return False


def _shown(made_with: Mapping[str, Any]) -> str:
    known = {name: "unknown" if each is None else each for name, each in made_with.items()}
    return ", ".join(f"{name} {value}" for name, value in known.items())
