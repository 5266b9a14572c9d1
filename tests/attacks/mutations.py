# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Makes broken variants of good files; a seed makes them the same in every run."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

from tests.pictures import encoded, picture, rotated_jpeg

KINDS = ("JPEG", "PNG", "BMP", "TIFF", "WEBP", "GIF", "AVIF", "HEIF")


def originals() -> list[bytes]:
    """Return one small file of each format, and a JPEG with an EXIF orientation."""
    return [*(encoded(picture(96, 64), kind) for kind in KINDS), rotated_jpeg(picture(96, 64))]


def mutations(
    count: int, seed: int = 1, sources: Sequence[bytes] | None = None, head: float = 0.5
) -> Iterator[bytes]:
    """Yield ``count`` distinct files with bytes removed, changed, inserted or swapped.

    Args:
        sources: the good files; default: ``originals``.
        head: share of the changes that hit the beginning of the file.
    """
    draw = random.Random(seed)
    seen: set[bytes] = set()
    sources = originals() if sources is None else sources
    while len(seen) < count:
        data = bytearray(draw.choice(sources))
        for _ in range(draw.choice((1, 1, 2, 5))):
            _mutate(data, draw, head)
        made = bytes(data)
        if made not in seen and made not in sources:
            seen.add(made)
            yield made


def _mutate(data: bytearray, draw: random.Random, head: float) -> None:
    # The structure of most files is described at their beginning.
    place = draw.randrange(min(len(data), 64) if draw.random() < head else max(1, len(data)))
    kind = draw.randrange(6)
    if kind == 0:
        del data[max(1, place) :]
    elif kind == 1:
        data[place] ^= 1 << draw.randrange(8)
    elif kind == 2:
        data[place : place + 4] = draw.choice((b"\xff\xff\xff\xff", bytes(4), b"\x7f\xff\xff\xff"))
    elif kind == 3:
        data[place:place] = draw.randbytes(draw.randrange(1, 40))
    elif kind == 4:
        del data[place : place + draw.randrange(1, 40)]
    else:
        other = draw.randrange(len(data))
        data[place], data[other] = data[other], data[place]
    if not data:
        data.append(0)
