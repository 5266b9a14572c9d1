# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Whether a file can be a picture, by its first bytes: cheap, for folders of many files."""

from __future__ import annotations

from app.pictures.decode import _SIGNATURES

#: bytes at the start of a file that are enough to tell
HEAD = 128

# ISO/IEC 23008-12: what pictures in the container of MP4 say of themselves; videos name others.
_PICTURE_BRANDS = frozenset(
    b"heic heix heim heis hevc hevx hevm hevs mif1 mif2 msf1 miaf avif avis".split()
)


def may_be_picture(head: bytes) -> bool:
    """Whether a file with this beginning is of a format that is read.

    Args:
        head: the first ``HEAD`` bytes, or all there are.
    """
    if head[4:8] == b"ftyp":
        end = min(int.from_bytes(head[:4], "big"), len(head))
        # The major brand, a version, the compatible brands.
        return any(head[at : at + 4] in _PICTURE_BRANDS for at in (8, *range(16, end - 3, 4)))
    return any(signature.match(head) for _, signature in _SIGNATURES)
