# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Items as rows of a manifest, from which another machine makes them again."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from app.library import addresses
from app.library.items import Broken, Bytes, Item, LocalFile, Member, Remote, Stored
from app.remote.fetch import Fetcher

#: pyarrow.Schema, which ships no types
Schema = Any
Description = dict[str, Any]


def schema() -> Schema:
    """Columns of a manifest.

    They are plain values rather than pickled objects, so that reading a manifest runs no code of
    whoever can write to the output.
    """
    import pyarrow as pa

    return pa.schema(
        [
            ("id", pa.string()),
            ("path", pa.string()),
            ("kind", pa.string()),
            # a file name as bytes, because it need not be UTF-8; or an address; or a reason
            ("place", pa.binary()),
            ("offset", pa.int64()),
            ("size", pa.int64()),
            ("content", pa.binary()),
        ]
    )


def described(item: Item) -> Description:
    """The row of an item."""
    row: Description = dict.fromkeys(("place", "offset", "size", "content"))
    row |= {"id": item.id, "path": item.path, "kind": type(item).__name__}
    match item:
        case LocalFile():
            # Machines of a cluster have no common current folder.
            row["place"] = os.fsencode(item.file.absolute())
        case Stored():
            row["place"] = os.fsencode(item.address)
        case Remote():
            row["place"] = os.fsencode(item.url)
        case Member():
            archive = item.archive
            if addresses.is_local(archive):
                archive = str(Path(archive).absolute())
            row |= {"place": os.fsencode(archive), "offset": item.offset, "size": item.size}
        case Bytes():
            row["content"] = item.content
        case Broken():
            row["place"] = item.reason.encode()
        case _:
            raise TypeError(f"{type(item).__name__} cannot be sent to another machine")
    return row


def item(row: Mapping[str, Any], fetcher: Fetcher | None) -> Item:
    """The item of a row.

    Args:
        row: of a manifest.
        fetcher: of this machine, for pictures on web servers; None: they are turned off.
    """
    id, path, kind = row["id"], row["path"], row["kind"]
    if kind == "Bytes":
        return Bytes(id, path, row["content"])
    place = os.fsdecode(row["place"])
    match kind:
        case "LocalFile":
            return LocalFile(id, path, Path(place))
        case "Stored":
            return Stored(id, path, place)
        case "Remote":
            return Remote(id, path, place, fetcher)
        case "Member":
            return Member(id, path, place, row["offset"], row["size"])
        case "Broken":
            return Broken(id, path, place)
    raise ValueError(f"a manifest with {kind}: it was written by another version")
