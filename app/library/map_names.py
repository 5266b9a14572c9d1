# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Names of files for pictures by their ids, which may be paths, addresses or anything else."""

from __future__ import annotations

from hashlib import sha256
from urllib.parse import quote

# File systems take names of 255 bytes; suffixes need some of them.
_MOST_BYTES = 200
_REFUSED = frozenset('%\\:*?"<>|')


def map_name(id: str) -> str:
    """A path for this id, the same for no other: characters that no file name should have are
    written as in URLs. It leads out of no folder.
    """
    name, after_slash = "", False
    for number, part in enumerate(id.split("/")):
        # A slash that separates no two names, as in "https://" or at the start, is a character.
        if number and name and not after_slash:
            name += "/"
        if not part:
            name += "%2F"
            after_slash = True
            continue
        name += _safe(part)
        after_slash = False
    return name


def _safe(part: str) -> str:
    text = "".join(
        each if each.isprintable() and each not in _REFUSED else quote(each, safe="")
        for each in part
    )
    if text in (".", ".."):
        text = text.replace(".", "%2E")
    if len(text.encode()) > _MOST_BYTES:
        return f"{text[:20]}%{sha256(part.encode()).hexdigest()}"
    return text
