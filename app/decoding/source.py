# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""The file of a client as a descriptor that another process can read."""

from __future__ import annotations

import io
import os
from typing import BinaryIO

from app.decoding.decoder import shared_memory

# Up to here a body lies in memory; asking for its descriptor could write it to disk.
_SMALL_BYTES = 2**20
_CHUNK_BYTES = 2**20


def descriptor_of(file: BinaryIO) -> int:
    """A descriptor of the file's content, which the caller closes.

    Raises:
        OSError: it cannot be read, or there is no memory for its copy.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    if size > _SMALL_BYTES:
        try:
            return os.dup(file.fileno())
        except io.UnsupportedOperation:  # it lies in memory all the same
            pass
    descriptor = shared_memory("file")
    try:
        with os.fdopen(os.dup(descriptor), "wb") as copy:
            while chunk := file.read(_CHUNK_BYTES):
                copy.write(chunk)
    except BaseException:
        os.close(descriptor)
        raise
    finally:
        file.seek(0)
    return descriptor
