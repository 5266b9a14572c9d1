# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Embedding: images and texts to vectors, from their bytes to what the client gets."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from functools import partial
from typing import BinaryIO

import numpy as np

from app.engines.base import FloatArray
from app.errors import BadRequest, ProcessingFailed, TwinlensError
from app.lending.registry import networks_of
from app.models.base import EmbeddingFamily, NetworkId
from app.models.tokens import Tokens
from app.tasks.results import Embeddings, TextEmbeddings, Timings
from app.tasks.turns import IsGone, Turn, Turns
from config.models import ModelSpec

log = logging.getLogger("twinlens.tasks")


class EmbeddingTask:
    """Runs in the caller's thread; files are decoded by processes of their own, and the inference
    runs on a device thread.

    An image or text that could not be had, or that is none, gives its error and spoils nothing for
    the others of its request.
    """

    def __init__(self, turns: Turns) -> None:
        self._turns = turns

    def images(
        self,
        sources: Sequence[BinaryIO | TwinlensError],
        spec: ModelSpec,
        *,
        normalize: bool,
        image_size: int | None,
        is_gone: IsGone = lambda: False,
    ) -> Embeddings:
        """The vectors of images, computed as one batch.

        Raises:
            TwinlensError: nothing at all can be computed.
        """
        timings = Timings()
        results: list[FloatArray | TwinlensError] = []
        with self._turns.wait(networks_of(spec)[0], len(sources), is_gone, timings) as turn:
            family: EmbeddingFamily = turn.loaded.family
            for source in sources:
                try:
                    results.append(_prepared(turn, source, image_size))
                except TwinlensError as error:
                    turn.check_cancelled()  # raises what is wrong with the whole request
                    results.append(error)
            inputs = [each for each in results if not isinstance(each, TwinlensError)]
            outputs = turn.infer(np.stack(inputs)) if inputs else ()
        with timings.stage("finish"):
            vectors = _vectors(results, outputs, normalize)
        loaded = turn.loaded
        used_size = image_size or family.image_size
        return Embeddings(loaded.weights, loaded.provenance(), timings, vectors, used_size)

    def texts(
        self,
        texts: Sequence[str],
        spec: ModelSpec,
        *,
        normalize: bool,
        is_gone: IsGone = lambda: False,
    ) -> TextEmbeddings:
        """The vectors of texts, computed as one batch.

        Raises:
            TwinlensError: nothing at all can be computed.
        """
        network = NetworkId(spec, "text")
        if network not in networks_of(spec):
            raise BadRequest(
                f"{spec.key} embeds images only; choose a model with a text network",
                title="No texts",
            )
        timings = Timings()
        results: list[Tokens | TwinlensError] = []
        with self._turns.wait(network, len(texts), is_gone, timings) as turn:
            family: EmbeddingFamily = turn.loaded.family
            for text in texts:
                try:
                    with turn.preparing():
                        results.append(family.prepare_text(text))
                except TwinlensError as error:
                    turn.check_cancelled()  # raises what is wrong with the whole request
                    results.append(error)
            inputs = [each.ids for each in results if isinstance(each, Tokens)]
            outputs = turn.infer(np.stack(inputs)) if inputs else ()
        with timings.stage("finish"):
            vectors = _vectors(results, outputs, normalize)
        tokens = [each if isinstance(each, Tokens) else None for each in results]
        loaded = turn.loaded
        return TextEmbeddings(loaded.weights, loaded.provenance(), timings, vectors, tokens)


def _prepared(turn: Turn, source: BinaryIO | TwinlensError, image_size: int | None) -> FloatArray:
    """The network's input for one image; the image itself is dropped here."""
    if isinstance(source, TwinlensError):
        raise source
    family: EmbeddingFamily = turn.loaded.family
    with source:
        decode_size, steps = (
            partial(family.decode_size, image_size),
            partial(family.steps, image_size),
        )
        picture = turn.decode(source, decode_size, steps)
    with turn.preparing():
        return family.prepare_image(picture, image_size, turn.loaded.network.images)


def unit_vector(vector: FloatArray) -> FloatArray:
    """A vector [dims] brought to L2 norm 1.

    Raises:
        ArithmeticError: it has infinite or undefined numbers, or is all zeros.
    """
    return checked(vector) / np.float32(np.linalg.norm(vector))


def checked(vector: FloatArray) -> FloatArray:
    """The same vector [dims]; raises ArithmeticError as ``unit_vector`` does."""
    norm = float(np.linalg.norm(vector))
    if not np.isfinite(norm) or norm == 0:
        raise ArithmeticError("the embedding is not a finite, non-zero vector")
    return vector


def _vectors(
    results: Sequence[object], outputs: Iterable[FloatArray], normalize: bool
) -> list[FloatArray | TwinlensError]:
    """For each input its vector, or the error that stands in its place."""
    rows = iter(outputs)
    return [
        each if isinstance(each, TwinlensError) else _vector(next(rows), normalize)
        for each in results
    ]


def _vector(output: FloatArray, normalize: bool) -> FloatArray | TwinlensError:
    try:
        return unit_vector(output) if normalize else checked(output)
    except ArithmeticError:
        log.exception("a vector is unusable")
        return ProcessingFailed()
