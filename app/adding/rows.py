# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Adds rows to the user's own table of models, and removes them.

The file is changed as text, so that the comments, order and spelling of the other rows stay as the
user wrote them.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

from app.adding.problems import FileFailed, KeyTaken, TableFull
from app.host import atomic
from config.models import TableError, parse

_HEAD = (
    "# Models that were added with `python -m app models add`. Rows may be edited by hand, too;\n"
    "# docs/adding-a-model.md explains them.\n"
)
_HEADER = re.compile(r"\s*\[")

Row = Mapping[str, Any]


def keys(path: Path) -> list[str]:
    """The keys of a file's rows; empty if there is no file. Raises FileFailed."""
    return [spec.key for spec in parse(_read(path)).model]


def put(path: Path, row: Row, *, replace: bool = True, most: int | None = None) -> None:
    """Add a row to a file; the file is created if it does not exist.

    Args:
        path: the file.
        row: the row.
        replace: whether to replace an existing row with the same key.
        most: largest number of rows that the file may have afterwards; None: no limit.

    Raises:
        KeyTaken: the file has a row with the same key, which must not be replaced.
        TableFull: the file has ``most`` rows already.
        FileFailed: the file cannot be changed; the message says what to do.
    """
    with _locked(path):
        _put(path, row, replace, most)


def check_room(path: Path, key: str, *, most: int | None = None) -> None:
    """Check that ``put`` could add a new row now. Raises KeyTaken, TableFull, FileFailed."""
    present = keys(path)
    if key in present:
        raise KeyTaken(
            f"{path} has a row {key}: pass --replace, or choose another key",
            f"There is a model {key} already: choose another key",
        )
    if most is not None and len(present) >= most:
        raise TableFull(
            f"{path} has {len(present)} rows, and at most {most} may be added",
            f"{len(present)} models were added already, and at most {most} may be: remove some on "
            "the command line (python -m app models remove KEY)",
        )


def _put(path: Path, row: Row, replace: bool, most: int | None) -> None:
    if not replace:
        check_room(path, row["key"], most=most)
    before = _read(path)
    end = "\r\n" if "\r\n" in before else "\n"
    block = "".join(f"{line}{end}" for line in _lines(row))
    span = _span(before, row["key"])
    if span is not None:
        after = before[: span[0]] + block + before[span[1] :]
    elif before.strip():
        gap = end if before.endswith("\n") else 2 * end
        after = f"{before}{gap}{block}"
    else:
        after = f"{_HEAD}\n{block}"
    _write(path, before, after, {row["key"]: dict(row)})


def copy(source: Path, target: Path, wanted: Iterable[str]) -> None:
    """Copy the rows with the wanted keys that the source has to the target. Raises FileFailed."""
    present = _by_key(_read(source))
    for key in wanted:
        if key in present:
            put(target, present[key])


def remove(path: Path, key: str) -> None:
    """Remove the row with this key from a file. Raises FileFailed."""
    with _locked(path):
        before = _read(path)
        span = _span(before, key)
        after = before if span is None else before[: span[0]] + before[span[1] :].lstrip("\r\n")
        _write(path, before, after, {key: None})


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Keep other processes from changing the file during the block. Raises FileFailed.

    The folder is locked, not the file, because each change replaces the file by a new one.
    """
    folder = path.resolve().parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise _not_written(path, error) from None
    try:
        # NFS cannot lock folders; there, one of two simultaneous changes may be lost.
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _lines(row: Row) -> list[str]:
    # TOML's strings in double quotes have the same escapes as those of JSON, and one more.
    texts = {
        k: json.dumps(v, ensure_ascii=False).replace("\x7f", "\\u007f") for k, v in row.items()
    }
    return ["[[model]]", *(f"{k} = {text}" for k, text in texts.items())]


def _span(text: str, key: str) -> tuple[int, int] | None:
    """Where the text of the row with this key begins and ends; None if there is no such row.

    Comments after a row belong to the next row.
    """
    lines = text.splitlines(keepends=True)
    starts = [number for number, line in enumerate(lines) if _HEADER.match(line)]
    for start, end in pairwise([*starts, len(lines)]):
        try:
            rows = tomllib.loads("".join(lines[start:end])).get("model", [])
        except tomllib.TOMLDecodeError:
            continue
        if [row.get("key") for row in rows] == [key]:
            while not lines[end - 1].strip() or lines[end - 1].lstrip().startswith("#"):
                end -= 1
            return len("".join(lines[:start])), len("".join(lines[:end]))
    return None


def _read(path: Path) -> str:
    """The text of the file; "" if there is no file. Raises FileFailed if it is no valid table."""
    try:
        text = path.read_bytes().decode("utf-8")
        parse(text)
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise FileFailed(
            f"{path} cannot be read ({error.strerror})",
            f"The table of models (MODELS_FILE) cannot be read ({error.strerror})",
        ) from None
    except (UnicodeDecodeError, TableError) as error:
        raise FileFailed(
            f"{path} has mistakes; correct them first: {error}",
            "The table of models (MODELS_FILE) has mistakes: whoever runs the service has to "
            "correct them first",
        ) from None
    return text


def _write(
    path: Path, before: str, after: str, changes: Mapping[str, dict[str, Any] | None]
) -> None:
    """Write the text ``after`` if its rows are those of ``before`` with the changes made.

    Args:
        path: the file.
        before: its present text.
        after: its new text.
        changes: the changed rows by key; None for a removed row.

    Raises:
        FileFailed: the new text has other rows, or the file cannot be written.
    """
    wanted = {**_by_key(before), **changes}
    wanted = {key: row for key, row in wanted.items() if row is not None}
    try:
        parse(after)
        is_right = _by_key(after) == wanted
    except (TableError, tomllib.TOMLDecodeError):
        is_right = False
    if not is_right:
        raise FileFailed(
            f"{path} is written in a way that this command cannot change: edit it by hand; each "
            "row begins with a line [[model]]",
            "The table of models (MODELS_FILE) is written in a way that the service cannot change: "
            "whoever runs the service has to edit it by hand",
        )
    target = path.resolve()  # so that a symbolic link stays, and the file behind it is changed
    try:
        mode = target.stat().st_mode & 0o777 if target.exists() else None
        atomic.write_text(target, after, durable=True)
        if mode is not None:
            target.chmod(mode)
    except OSError as error:
        raise _not_written(path, error) from None


def _not_written(path: Path, error: OSError) -> FileFailed:
    return FileFailed(
        f"{path} cannot be written ({error.strerror}): set MODELS_FILE to a file that can be "
        "written, also for the service",
        f"The table of models cannot be written ({error.strerror}): whoever runs the service sets "
        "MODELS_FILE to a file that can be written",
    )


def _by_key(text: str) -> dict[str, Any]:
    return {row["key"]: row for row in tomllib.loads(text).get("model", [])}
