# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Splits a library among several runs that need not know of each other."""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import blake2b

from app.errors import BadRequest

_MOST = 100_000


@dataclass(frozen=True)
class Shard:
    """One of ``count`` parts of a library, counted from 0."""

    index: int = 0
    count: int = 1

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Read "I/N": "0/4" is the first of four. Raises BadRequest."""
        found = re.fullmatch(r"([0-9]{1,6})/([0-9]{1,6})", text)
        shard = cls(*map(int, found.groups())) if found else cls(0, 0)
        if not 0 <= shard.index < shard.count <= _MOST:
            raise BadRequest(
                f"--shard {text}: allowed: I/N, from 0/N to N-1/N with N at most {_MOST}, "
                "such as 0/4 to 3/4",
                title="Invalid option",
            )
        return shard

    def holds(self, id: str) -> bool:
        """Whether a picture belongs to this part; always the same, on each machine."""
        # Not a checksum: the last bits of those hardly differ among names such as 1.jpg and 2.jpg.
        digest = blake2b(id.encode("utf-8", "backslashreplace"), digest_size=8).digest()
        return int.from_bytes(digest) % self.count == self.index

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"
