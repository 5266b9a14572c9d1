# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""The vectors of the last images, so that the same image is not computed again.

Clients such as media servers send the same poster whenever they rebuild their index. Each worker
keeps its own vectors; only the figures are shared.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import BinaryIO

from app.engines.base import FloatArray
from app.errors import TwinlensError
from app.host.shared_state import Figure, SharedState
from app.lending.loaded import LoadedNetwork
from app.rendering.options import Size

#: the vector of an image [dims], and width and height of the upright image
ImageVector = tuple[FloatArray, Size]

_PIECE = 2**18


@dataclass(frozen=True)
class Question:
    """What a request asks about each of its images."""

    normalize: bool
    image_size: int | None


@dataclass(frozen=True)
class _Key:
    digest: bytes
    #: stands for checkpoint, engine, precision and preprocess version, see ``LoadedNetwork.serial``
    network: int
    question: Question


class VectorCache:
    """Vectors by the bytes of their images; the least recently used one is dropped first."""

    def __init__(self, size: int, shared: SharedState) -> None:
        """Create an empty cache, before the fork.

        Args:
            size: the most vectors to keep; 0: none.
            shared: gets the figures for ``/health`` and ``/metrics``.
        """
        self._size = size
        self._shared = shared
        self._lock = threading.Lock()
        self._vectors: OrderedDict[_Key, ImageVector] = OrderedDict()
        #: called with the numbers of images that were found and not found
        self.on_lookup: Callable[[int, int], None] = lambda *_: None

    def digests(self, sources: Sequence[BinaryIO | TwinlensError]) -> list[bytes | None]:
        """The SHA-256 of each file; None for errors, and for all if the cache is off."""
        return [
            None if not self._size or isinstance(each, TwinlensError) else _digest(each)
            for each in sources
        ]

    def find(
        self, loaded: LoadedNetwork | None, digests: Sequence[bytes | None], question: Question
    ) -> list[ImageVector | None]:
        """The known vector of each image."""
        found: list[ImageVector | None] = [None] * len(digests)
        if loaded is None:
            return found
        with self._lock:
            for index, digest in enumerate(digests):
                if digest is not None:
                    key = _Key(digest, loaded.serial, question)
                    found[index] = self._vectors.get(key)
                    if found[index] is not None:
                        self._vectors.move_to_end(key)
        return found

    def add(
        self,
        loaded: LoadedNetwork,
        digests: Sequence[bytes | None],
        question: Question,
        found: Sequence[ImageVector | TwinlensError],
    ) -> None:
        """Keep vectors that were just computed; errors are not kept."""
        with self._lock:
            for digest, each in zip(digests, found, strict=True):
                if digest is not None and not isinstance(each, TwinlensError):
                    key = _Key(digest, loaded.serial, question)
                    if key not in self._vectors:
                        # A copy, because the vector may be a row of a whole batch.
                        self._vectors[key] = each[0].copy(), each[1]
                    self._vectors.move_to_end(key)
            while len(self._vectors) > self._size:
                self._vectors.popitem(last=False)
            self._shared.set("cache_size", len(self._vectors))

    def count(self, hits: int, misses: int) -> None:
        """Count the images of an answered request."""
        if self._size:
            with self._lock:
                self._raise("cache_hits", hits)
                self._raise("cache_misses", misses)
            self.on_lookup(hits, misses)

    def _raise(self, figure: Figure, count: int) -> None:
        self._shared.set(figure, self._shared.get(figure) + count)


def _digest(file: BinaryIO) -> bytes:
    digest = hashlib.sha256(usedforsecurity=False)
    file.seek(0)
    while piece := file.read(_PIECE):
        digest.update(piece)
    file.seek(0, os.SEEK_SET)
    return digest.digest()
