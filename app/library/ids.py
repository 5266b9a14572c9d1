# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""A set of any number of ids, most of which is on disk."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from hashlib import blake2b

from app.errors import NoResources

# What of each set is in memory. The rest is in a file without a name, in TMPDIR or /var/tmp.
_CACHE_KIB = 32 * 1024


class Ids:
    """Ids that were seen. Of each it keeps a hash of 128 bits: no two ids share one in practice.

    Its methods raise NoResources if the disk is full.
    """

    def __init__(self) -> None:
        # An empty name is a database that nobody else sees, and that ends with this object.
        self._table = sqlite3.connect("", isolation_level=None)
        for statement in (
            f"PRAGMA cache_size = -{_CACHE_KIB}",
            "PRAGMA journal_mode = OFF",
            "CREATE TABLE ids (digest BLOB PRIMARY KEY) WITHOUT ROWID",
            "BEGIN",  # the only transaction; each statement would be one otherwise
        ):
            self._table.execute(statement)
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __contains__(self, id: str) -> bool:
        found = self._execute("SELECT 1 FROM ids WHERE digest = ?", id)
        return found.fetchone() is not None

    def add(self, id: str) -> bool:
        """Add an id; returns whether it is new."""
        is_new = self._execute("INSERT OR IGNORE INTO ids VALUES (?)", id).rowcount == 1
        self._count += is_new
        return is_new

    def update(self, ids: Iterable[str]) -> None:
        """Add many ids."""
        for each in ids:
            self.add(each)

    def _execute(self, statement: str, id: str) -> sqlite3.Cursor:
        digest = blake2b(id.encode(), digest_size=16).digest()
        try:
            return self._table.execute(statement, (digest,))
        except sqlite3.OperationalError as error:
            raise NoResources(f"The list of ids cannot be kept in TMPDIR ({error})") from error
