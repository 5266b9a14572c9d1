# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Turns a client's file into a descriptor that a decoder process can read."""

from __future__ import annotations

import io
import os
from typing import BinaryIO

from app.decoding.decoder import shared_memory

# Request bodies up to this size are kept in memory. ``fileno()`` of such a body could write it to
# disk, so it is copied to shared memory instead.
_SMALL_BYTES = 2**20
_CHUNK_BYTES = 2**20


def descriptor_of(file: BinaryIO) -> int:
    """A descriptor of the file's content, which the caller closes.

    Raises:
        OSError: the file cannot be read, or there is no memory for a copy.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    if size > _SMALL_BYTES:
        try:
            return os.dup(file.fileno())
        except io.UnsupportedOperation:  # an in-memory file without a descriptor
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
