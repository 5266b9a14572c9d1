# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Rows in the user's own table of models: added and removed as text, so that all else stays.

Comments, order and spelling of the other rows are the user's.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

from app.cli.problems import Failed
from app.host import atomic
from config.models import TableError, parse

_HEAD = (
    "# Models that were added with `python -m app models add`. Rows may be edited by hand, too;\n"
    "# docs/adding-a-model.md explains them.\n"
)
_HEADER = re.compile(r"\s*\[")

Row = Mapping[str, str]


def keys(path: Path) -> list[str]:
    """The keys of a file's rows; none if there is no file. Raises Failed."""
    return [spec.key for spec in parse(_read(path)).model]


def put(path: Path, row: Row) -> None:
    """Add a row to a file, which is created if need be; a row with its key is replaced.

    Raises:
        Failed: the file cannot be changed; the message says what to do.
    """
    with _held(path):
        _put(path, row)


def remove(path: Path, key: str) -> None:
    """Remove a row from a file that has it. Raises Failed."""
    with _held(path):
        before = _read(path)
        span = _span(before, key)
        after = before if span is None else before[: span[0]] + before[span[1] :].lstrip("\r\n")
        _write(path, before, after, {key: None})


@contextmanager
def _held(path: Path) -> Iterator[None]:
    """Waits for other commands that change the file; else the last one would undo their changes.

    The folder is locked, because the file is replaced by each change. Raises Failed.
    """
    folder = path.resolve().parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise _unwritable(path, error) from None
    try:
        with suppress(OSError):  # some network file systems have no locks
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _put(path: Path, row: Row) -> None:
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


def _lines(row: Row) -> list[str]:
    # A basic string of TOML has the escapes of JSON.
    return ["[[model]]", *(f"{k} = {json.dumps(v, ensure_ascii=False)}" for k, v in row.items())]


def _span(text: str, key: str) -> tuple[int, int] | None:
    """Where the row with a key begins and ends; comments after it belong to the next row."""
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
    """The text of the file, "" if there is none. Raises Failed if it is no table of models."""
    try:
        text = path.read_bytes().decode("utf-8")
        parse(text)
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise Failed(f"{path} cannot be read ({error.strerror})") from None
    except (UnicodeDecodeError, TableError) as error:
        raise Failed(f"{path} has mistakes; correct them first: {error}") from None
    return text


def _write(
    path: Path, before: str, after: str, changes: Mapping[str, dict[str, Any] | None]
) -> None:
    """Write the new text if it says what it should. Raises Failed."""
    wanted = {**_by_key(before), **changes}
    wanted = {key: row for key, row in wanted.items() if row is not None}
    try:
        parse(after)
        is_right = _by_key(after) == wanted
    except (TableError, tomllib.TOMLDecodeError):
        is_right = False
    if not is_right:
        raise Failed(
            f"{path} is written in a way that this command cannot change: edit it by hand; each "
            "row begins with a line [[model]]"
        )
    target = path.resolve()  # a link stays a link
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        mode = target.stat().st_mode & 0o777 if target.exists() else None
        atomic.write_text(target, after, durable=True)
        if mode is not None:
            target.chmod(mode)
    except OSError as error:
        raise _unwritable(path, error) from None


def _unwritable(path: Path, error: OSError) -> Failed:
    return Failed(
        f"{path} cannot be written ({error.strerror}): set MODELS_FILE to a file that can be, "
        "for the service, too"
    )


def _by_key(text: str) -> dict[str, Any]:
    return {row["key"]: row for row in tomllib.loads(text).get("model", [])}
