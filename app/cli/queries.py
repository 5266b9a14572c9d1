# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Computes the vectors of queries with the model that the searched vectors were made with."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from app.cli.problems import Interrupted, UsageError
from app.cli.session import Stop, load, session
from app.engines.base import FloatArray
from app.errors import BadRequest, TwinlensError
from app.lending.registry import Registry
from app.library.folders import Photo, one_line
from app.library.reading import Vectors
from app.library.scoring import Scoring
from app.runtime import Runtime
from app.tasks import zero_shot
from app.tasks.results import Embeddings, TextEmbeddings
from config.models import ModelSpec
from config.settings import Settings

T = TypeVar("T")

# Texts or images of one batch.
_BATCH = 32


@dataclass(frozen=True)
class Embedder:
    """A loaded model. Its vectors can be compared with those that are searched."""

    vectors: Vectors
    spec: ModelSpec
    runtime: Runtime
    stop: Stop

    def texts(self, texts: Sequence[str]) -> FloatArray:
        """Vectors [n, dims] of length 1. Raises UsageError, BadRequest, Interrupted."""
        found = []
        for batch in self._batches(texts):
            result = self.runtime.embedding.texts(batch, self.spec, normalize=True)
            found += self._checked(result, [repr(text) for text in batch])
            for text, tokens in zip(batch, result.tokens, strict=True):
                if tokens is not None and tokens.truncated:
                    shown = one_line(text)
                    print(f"only the beginning of {shown!r} is used", file=sys.stderr)
        return np.stack(found)

    def images(self, paths: Sequence[Path]) -> FloatArray:
        """Vectors [n, dims] of length 1. Raises UsageError, BadRequest, Interrupted."""
        # If embed was given no size, its file names that of the model's row.
        size = self.vectors.made_with.image_size
        given = None if size == self.spec.image_size else size
        found = []
        for batch in self._batches(paths):
            with ExitStack() as stack:
                files = [stack.enter_context(Photo(path, path).open()) for path in batch]
                result = self.runtime.embedding.images(
                    files, self.spec, normalize=True, image_size=given
                )
            found += self._checked(result, list(map(str, batch)))
        return np.stack(found)

    def scoring(self) -> Scoring:
        """How the model's cosines with labels become scores."""
        return zero_shot.scoring(self.runtime.embedding.logits(self.spec))

    def _batches(self, queries: Sequence[T]) -> Iterator[Sequence[T]]:
        for start in range(0, len(queries), _BATCH):
            if self.stop.is_requested():
                raise Interrupted
            yield queries[start : start + _BATCH]

    def _checked(
        self, result: Embeddings | TextEmbeddings, names: Sequence[str]
    ) -> list[FloatArray]:
        now, before = result.provenance, self.vectors.made_with
        assert now is not None
        for what, stored, current in (
            ("revision", before.revision, now.revision),
            ("preprocess version", before.preprocess_version, now.preprocess_version),
        ):
            if stored is not None and stored != current:
                raise UsageError(
                    f"{self.vectors.name} was made with {what} {stored} of {self.spec.key}, here "
                    f"it is {current}, and their vectors cannot be compared. Make them again: "
                    f"python -m app embed ... --model {self.spec.key} with a new -o"
                )
        for name, vector in zip(names, result.vectors, strict=True):
            if isinstance(vector, TwinlensError):
                raise UsageError(f"{one_line(name)}: {vector.message}")
        return [each for each in result.vectors if not isinstance(each, TwinlensError)]


@contextmanager
def embedder(
    vectors: Vectors, settings: Settings, stop: Stop, *, images: bool
) -> Iterator[Embedder]:
    """Load the model that the vectors were made with.

    Args:
        vectors: those that are to be searched.
        settings: of the runtime.
        stop: asks to stop.
        images: whether images will be embedded, rather than only texts.

    Raises:
        UsageError: the model is not in the table, or is another one by now.
        Failed: it cannot be loaded.
    """
    try:
        spec = Registry(settings).get(vectors.made_with.model, "embedding")
    except BadRequest as error:
        raise UsageError(
            f"{vectors.name} was made with a model that is not in the table of models: "
            f"{error.message}. Add it (python -m app models add), or embed again with another one"
        ) from None
    with session(settings) as runtime:
        load(runtime, spec, stop, images=images)
        yield Embedder(vectors, spec, runtime, stop)
