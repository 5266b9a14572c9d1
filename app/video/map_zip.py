# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""A ZIP of pictures, written while they are made."""

from __future__ import annotations

import zipfile
from typing import BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from app.rendering import png
from app.video.pipe import Whole

# The entries' time: the earliest one that a ZIP can state, so that answers can be compared.
_NO_TIME = (1980, 1, 1, 0, 0, 0)
_MODE = 0o644 << 16


class MapZip:
    """Entries ``depth_frame_0001.png`` upwards.

    Args:
        out: where the ZIP goes; it needs no seeking.
    """

    def __init__(self, out: BinaryIO) -> None:
        self._zip = zipfile.ZipFile(cast(BinaryIO, Whole(out)), "w", zipfile.ZIP_STORED)
        #: number of pictures so far
        self.count = 0

    def add(self, image: NDArray[np.uint8] | NDArray[np.uint16]) -> None:
        """Append a picture, [height, width] grey or [height, width, 3] RGB."""
        self.count += 1
        entry = zipfile.ZipInfo(f"depth_frame_{self.count:04d}.png", _NO_TIME)
        entry.external_attr = _MODE
        self._zip.writestr(entry, png.encode(image))  # PNG is compressed already

    def close(self) -> None:
        """Write the list of entries, which ends the ZIP."""
        self._zip.close()
