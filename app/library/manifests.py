# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Reads manifests: tables in Parquet, CSV or JSON lines with a picture in each row.

A row has ``id``, and its picture as ``path``, ``url`` or, in Parquet only, ``bytes``. A row that
cannot be used becomes an item that fails, so that one bad line among millions ends nothing.
"""

from __future__ import annotations

import csv
import io
import json
import os
import posixpath
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import closing
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

from app.errors import BadRequest
from app.library import addresses
from app.library.items import Broken, Bytes, Item, LocalFile, Remote, Stored
from app.remote.fetch import Fetcher

_PLACES = ("path", "url", "bytes")
# Rows of a Parquet file that are in memory at a time, and those with the pictures in them.
_ROWS = 4096
_ROWS_OF_BYTES = 16
# Bytes that are read from a column of a Parquet file at a time.
_BUFFER = 2**20

Row = Mapping[str, Any]
#: rows with their numbers; in CSV and JSON lines, that of the line in which a row begins
Rows = Generator[tuple[int, Row], None, None]


def items(source: str, fetcher: Fetcher | None) -> Iterator[Item]:
    """The pictures of a manifest. Paths that are relative start at the manifest's own folder.

    Raises:
        BadRequest: it cannot be read, or has other columns.
    """
    folder = posixpath.dirname(source)
    for number, row in _rows(source):
        yield _item(row, addresses.text(f"{source}#{number}"), folder, fetcher)


def _rows(source: str) -> Rows:
    read = {"parquet": _parquet, "csv": _csv, "jsonl": _jsonl}[source.lower().rpartition(".")[2]]
    try:
        with addresses.reading():
            system, path = addresses.system(source)
            with system.open(path, "rb") as file, closing(read(file)) as rows:
                yield from rows
    except BadRequest as error:
        raise BadRequest(f"{source}: {error.message}") from error


def _parquet(file: BinaryIO) -> Rows:
    import pyarrow.parquet as pq

    # Without these two, all pictures of the manifest would be in memory at once.
    with pq.ParquetFile(file, pre_buffer=False, buffer_size=_BUFFER) as table:
        names = set(table.schema_arrow.names)
        _check(names)
        columns = [name for name in ("id", *_PLACES) if name in names]
        size = _ROWS_OF_BYTES if "bytes" in names else _ROWS
        batches = table.iter_batches(size, columns=columns)
        yield from enumerate(chain.from_iterable(batch.to_pylist() for batch in batches), 1)


def _csv(file: BinaryIO) -> Rows:
    with io.TextIOWrapper(file, "utf-8-sig", "surrogateescape", newline="") as text:
        table, begins = csv.reader(text, strict=True), 1
        try:
            names = next(table, [])
            _check(set(names), ("path", "url"))
            begins = table.line_num + 1
            for cells in table:
                if cells:
                    yield begins, dict(zip(names, cells, strict=False))
                begins = table.line_num + 1
        except csv.Error as error:
            # All that follows would be read as a part of this row.
            raise BadRequest(
                f"the row that begins in line {begins} has a quote that is not closed, or text "
                f"after a closing one ({error}); within quotes a quote is written twice"
            ) from error


def _jsonl(file: BinaryIO) -> Rows:
    is_checked = False
    for number, line in enumerate(file, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError:
            row = None
        if not isinstance(row, dict):
            row = {}
        elif not is_checked:
            _check(set(row), ("path", "url"))
            is_checked = True
        yield number, row


def _words(cell: Any) -> Any:
    """The text of a cell. Some programs write texts to Parquet without saying that they are."""
    return os.fsdecode(cell) if isinstance(cell, bytes) else cell


def _check(names: set[str], places: Iterable[str] = _PLACES) -> None:
    if "id" not in names or not names & set(places):
        shown = ", ".join(sorted(names)[:20]) or "none"
        raise BadRequest(
            f"a manifest has the column id and one of {', '.join(places)}; this one has: {shown}"
        )


def _item(row: Row, name: str, folder: str, fetcher: Fetcher | None) -> Item:
    """The picture of a row.

    Args:
        row: of the manifest.
        name: of the row, for one without an id.
        folder: at which relative paths start.
        fetcher: see ``items``.
    """
    given = _words(row.get("id"))
    if given is None or not str(given):
        return Broken(name, name, "The row of the manifest has no id")
    id = addresses.text(str(given))
    place = _words(row.get("path") or row.get("url"))
    if (content := row.get("bytes")) is not None:
        shown = f"{name.rpartition('#')[0]}/{id}"
        if not isinstance(content, bytes):
            return Broken(id, shown, "The column bytes holds no bytes")
        return Bytes(id, addresses.text(str(place or shown)), content)
    if not isinstance(place, str):
        return Broken(id, name, "The row of the manifest has neither path nor url")
    address = addresses.below(folder, place)
    shown = addresses.text(address)
    if addresses.is_web(address):
        return Remote(id, shown, address, fetcher)
    if addresses.is_store(address):
        return Stored(id, shown, address)
    if not addresses.is_local(address):
        kind = addresses.scheme(address)
        return Broken(id, shown, f"{kind}:// addresses are not opened for rows of manifests")
    return LocalFile(id, shown, Path(address))
