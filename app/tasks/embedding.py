# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""The embedding task: from the bytes of images, or from texts, to their vectors.

Path of a request: wait for a turn, prepare each input (an image is decoded first), infer all of
them as one batch, check and normalise the vectors.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from functools import partial
from typing import BinaryIO

import numpy as np

from app.engines.base import FloatArray
from app.errors import ProcessingFailed, TwinlensError
from app.lending.entry import embeds_images_only
from app.lending.registry import networks_of
from app.models.base import NetworkId
from app.models.embedding_family import EmbeddingFamily
from app.models.tokens import Tokens
from app.tasks.results import Embeddings, TextEmbeddings, Timings
from app.tasks.turns import IsGone, Turn, Turns
from config.models import ModelSpec

log = logging.getLogger("twinlens.tasks")


class EmbeddingTask:
    """Computes vectors of images and texts.

    It runs in the thread of the request, which waits while other processes decode the images and a
    device thread runs the inference. An unusable image or text gets an error in place of its
    vector; the others of the request still get theirs.
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
        """Compute the vectors of images as one batch.

        Args:
            sources: image files, or the errors of those that could not be fetched.
            spec: an embedding model.
            normalize: whether to scale each vector to length 1.
            image_size: see ``EmbeddingFamily.prepare_image``.
            is_gone: tells whether the client has hung up.

        Raises:
            TwinlensError: the whole request fails, not only some of its images.
        """
        timings = Timings()
        results: list[FloatArray | TwinlensError] = []
        with self._turns.wait(networks_of(spec)[0], len(sources), is_gone, timings) as turn:
            family: EmbeddingFamily = turn.loaded.family
            for source in sources:
                try:
                    results.append(_prepare_image(turn, source, image_size))
                except TwinlensError as error:
                    turn.check_cancelled()  # raises an error of the whole request, if there is one
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
        """Compute the vectors of texts as one batch.

        Args:
            texts: the texts.
            spec: an embedding model.
            normalize: whether to scale each vector to length 1.
            is_gone: tells whether the client has hung up.

        Raises:
            BadRequest: the model has no text network.
            TwinlensError: the whole request fails, not only some of its texts.
        """
        network = NetworkId(spec, "text")
        if network not in networks_of(spec):
            raise embeds_images_only(spec)
        timings = Timings()
        results: list[Tokens | TwinlensError] = []
        with self._turns.wait(network, len(texts), is_gone, timings) as turn:
            family: EmbeddingFamily = turn.loaded.family
            for text in texts:
                try:
                    with turn.preparing():
                        results.append(family.prepare_text(text))
                except TwinlensError as error:
                    turn.check_cancelled()  # raises an error of the whole request, if there is one
                    results.append(error)
            inputs = [each.ids for each in results if isinstance(each, Tokens)]
            outputs = turn.infer(np.stack(inputs)) if inputs else ()
        with timings.stage("finish"):
            vectors = _vectors(results, outputs, normalize)
        tokens = [each if isinstance(each, Tokens) else None for each in results]
        loaded = turn.loaded
        return TextEmbeddings(loaded.weights, loaded.provenance(), timings, vectors, tokens)


def _prepare_image(
    turn: Turn, source: BinaryIO | TwinlensError, image_size: int | None
) -> FloatArray:
    """The network's input for one image. The decoded image is freed when this returns."""
    if isinstance(source, TwinlensError):
        raise source
    family: EmbeddingFamily = turn.loaded.family
    decode_size = partial(family.decode_size, image_size)
    steps = partial(family.steps, image_size)
    with source:
        picture = turn.decode(source, decode_size, steps)
    with turn.preparing():
        return family.prepare_image(picture, image_size, turn.loaded.network.images)


def _vectors(
    results: Sequence[object], outputs: Iterable[FloatArray], normalize: bool
) -> list[FloatArray | TwinlensError]:
    """The vector or the error of each input, in the order of the request.

    Args:
        results: for each input of the request, its prepared input or its error.
        outputs: the network's outputs, for the prepared inputs only.
        normalize: whether to scale each vector to length 1.
    """
    rows = iter(outputs)
    return [
        each if isinstance(each, TwinlensError) else _vector(next(rows), normalize)
        for each in results
    ]


def _vector(output: FloatArray, normalize: bool) -> FloatArray | TwinlensError:
    try:
        return unit_vector(output) if normalize else checked(output)
    except ArithmeticError:
        log.exception("the network returned an unusable vector")
        return ProcessingFailed()


def unit_vector(vector: FloatArray) -> FloatArray:
    """A vector [dims] scaled to L2 norm 1.

    Raises:
        ArithmeticError: it contains infinities or NaN, or is all zeros.
    """
    return checked(vector) / np.float32(np.linalg.norm(vector))


def checked(vector: FloatArray) -> FloatArray:
    """Return the vector [dims] unchanged; raises ArithmeticError as ``unit_vector`` does."""
    norm = float(np.linalg.norm(vector))
    if not np.isfinite(norm) or norm == 0:
        raise ArithmeticError("the embedding is not a finite, non-zero vector")
    return vector
