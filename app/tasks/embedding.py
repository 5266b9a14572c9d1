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
from typing import Any, BinaryIO

import numpy as np

from app.engines.base import FloatArray
from app.errors import ProcessingFailed, TwinlensError
from app.lending.entry import embeds_images_only
from app.lending.registry import networks_of
from app.models.base import NetworkId
from app.models.embedding_family import EmbeddingFamily
from app.models.logits import Logits
from app.models.tokens import Tokens
from app.rendering.options import Size
from app.tasks.results import Embeddings, TextEmbeddings, Timings
from app.tasks.turns import IsGone, Turn, Turns
from app.tasks.vector_cache import ImageVector, Question, VectorCache
from config.models import ModelSpec

log = logging.getLogger("twinlens.tasks")


class EmbeddingTask:
    """Computes vectors of images and texts.

    It runs in the thread of the request, which waits while other processes decode the images and a
    device thread runs the inference. An unusable image or text gets an error in place of its
    vector; the others of the request still get theirs.
    """

    def __init__(self, turns: Turns, cache: VectorCache) -> None:
        self._turns = turns
        self._cache = cache

    def images(
        self,
        sources: Sequence[BinaryIO | TwinlensError],
        spec: ModelSpec,
        *,
        normalize: bool,
        image_size: int | None,
        is_gone: IsGone = lambda: False,
    ) -> Embeddings:
        """Compute the vectors of images as one batch, except those that the cache knows.

        If it knows all, the request takes no place in the waiting room.

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
        network, question = networks_of(spec)[0], Question(normalize, image_size)
        digests = self._cache.digests(sources)
        loaded = self._turns.loaded(network)
        known = self._cache.find(loaded, digests, question)
        if loaded is not None and _is_complete(sources, known):
            computed: list[ImageVector | TwinlensError] = list(_unknown(sources, known))
        else:
            with self._turns.wait(network, len(sources), is_gone, timings) as turn:
                if turn.loaded is not loaded:  # it was loaded meanwhile
                    loaded = turn.loaded
                    known = self._cache.find(loaded, digests, question)
                inputs = _prepare_images(turn, _unknown(sources, known), image_size)
                good = [each[0] for each in inputs if not isinstance(each, TwinlensError)]
                outputs = turn.infer(np.stack(good)) if good else ()
            with timings.stage("finish"):
                computed = _with_sizes(_vectors(inputs, outputs, normalize), inputs)
        for source, found in zip(sources, known, strict=True):
            if found is not None and not isinstance(source, TwinlensError):
                source.close()
        rest = iter(computed)
        results = [next(rest) if found is None else found for found in known]
        self._cache.add(loaded, digests, question, results)
        hits = sum(found is not None for found in known)
        self._cache.count(hits, len(digests) - digests.count(None) - hits)
        return Embeddings(
            loaded.weights,
            loaded.provenance(),
            timings,
            [each if isinstance(each, TwinlensError) else each[0] for each in results],
            image_size or loaded.family.image_size,
            [None if isinstance(each, TwinlensError) else each[1] for each in results],
        )

    def texts(
        self,
        texts: Sequence[str],
        spec: ModelSpec,
        *,
        normalize: bool,
        language: str | None = None,
        is_gone: IsGone = lambda: False,
    ) -> TextEmbeddings:
        """Compute the vectors of texts as one batch.

        Args:
            texts: the texts.
            spec: an embedding model.
            normalize: whether to scale each vector to length 1.
            language: of the texts, see ``EmbeddingFamily.prepare_text``.
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
                        results.append(family.prepare_text(text, language))
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

    def logits(self, spec: ModelSpec) -> Logits | None:
        """How the model's cosines become probabilities; None if its checkpoint does not tell.

        Raises:
            TwinlensError: the model cannot be loaded.
        """
        with self._turns.wait(NetworkId(spec, "text"), 1, lambda: False, Timings()) as turn:
            family: EmbeddingFamily = turn.loaded.family
            return family.logits()


def _is_complete(
    sources: Sequence[BinaryIO | TwinlensError], known: Sequence[ImageVector | None]
) -> bool:
    """Whether at least one vector is known, and only errors have none."""
    missing = _unknown(sources, known)
    return len(missing) < len(sources) and all(isinstance(each, TwinlensError) for each in missing)


def _unknown(
    sources: Sequence[BinaryIO | TwinlensError], known: Sequence[ImageVector | None]
) -> list[Any]:
    """The sources whose vectors are not known."""
    return [source for source, found in zip(sources, known, strict=True) if found is None]


def _prepare_images(
    turn: Turn, sources: Iterable[BinaryIO | TwinlensError], image_size: int | None
) -> list[tuple[FloatArray, Size] | TwinlensError]:
    """The network's input for each image and the size of the upright image, or its error."""
    results: list[tuple[FloatArray, Size] | TwinlensError] = []
    for source in sources:
        try:
            results.append(_prepare_image(turn, source, image_size))
        except TwinlensError as error:
            turn.check_cancelled()  # raises an error of the whole request, if there is one
            results.append(error)
    return results


def _prepare_image(
    turn: Turn, source: BinaryIO | TwinlensError, image_size: int | None
) -> tuple[FloatArray, Size]:
    """The network's input for one image, and the size of the upright image.

    The decoded image is freed when this returns.
    """
    if isinstance(source, TwinlensError):
        raise source
    family: EmbeddingFamily = turn.loaded.family
    decode_size = partial(family.decode_size, image_size)
    steps = partial(family.steps, image_size)
    with source:
        picture = turn.decode(source, decode_size, steps)
    with turn.preparing():
        work = turn.loaded.network.images
        return family.prepare_image(picture, image_size, work), picture.size


def _with_sizes(
    vectors: Sequence[FloatArray | TwinlensError],
    inputs: Sequence[tuple[FloatArray, Size] | TwinlensError],
) -> list[ImageVector | TwinlensError]:
    """Each vector with the size of its image, or the error of the one or the other."""
    return [
        each
        if isinstance(each, TwinlensError)
        else vector
        if isinstance(vector, TwinlensError)
        else (vector, each[1])
        for vector, each in zip(vectors, inputs, strict=True)
    ]


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
