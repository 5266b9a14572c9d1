# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Embeds texts and images of one request, in the order in which they come.

A bad item fails the request, and the message names its place, such as ``inputs[2]``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import BinaryIO, cast

from app.blueprints import vectors
from app.blueprints.schemas import ImageSource, Text
from app.engines.base import FloatArray
from app.errors import TwinlensError
from app.models.tokens import Tokens
from app.server.json_body import DetachedString
from config.models import ModelSpec

Item = Text | ImageSource | BinaryIO
_URL = ("http://", "https://")


@dataclass(frozen=True)
class Mixed:
    """The vectors of texts and images, of L2 norm 1, in the order of the items."""

    vectors: list[FloatArray]
    #: the tokens of each text; None for an image
    tokens: list[Tokens | None]
    weights: str

    @property
    def token_count(self) -> int:
        """Number of tokens that the model read."""
        return sum(each.count for each in self.tokens if each is not None)

    @property
    def image_count(self) -> int:
        """Number of images."""
        return sum(each is None for each in self.tokens)


def image_source(value: Text) -> ImageSource:
    """An image that is given as one string: an address, a data: URI or base64."""
    text = value.text if isinstance(value, DetachedString) else value
    if text[:8].lower().startswith(_URL):
        return ImageSource.model_construct(image_url=value)
    return ImageSource.model_construct(image_base64=value)


def embed(
    items: list[Item],
    spec: ModelSpec,
    place: Callable[[int], str],
    *,
    param: str | None = None,
) -> Mixed:
    """Embed the items, whose number the caller has checked.

    The list is cleared, because its strings may be long and the request may have to wait.

    Args:
        items: texts and images.
        spec: an embedding model.
        place: the name of an item for messages, by its index.
        param: the field of the items, which errors of an item state as well.

    Raises:
        TwinlensError: an item is bad, or the whole request failed.
    """
    total = len(items)

    def check(outcomes: Iterable[object], indexes: Iterable[int]) -> None:
        _raise_first(outcomes, indexes, place, param)

    images = {i: item for i, item in enumerate(items) if not _is_text(item)}
    found = {i: cast("Text", item) for i, item in enumerate(items) if _is_text(item)}
    items.clear()
    texts = dict(zip(found, vectors.check_texts(list(found.values())), strict=True))
    check(texts.values(), texts)
    sources: Sequence[BinaryIO | TwinlensError] = ()
    if images:
        sources = vectors.open_images(
            cast("list[ImageSource | BinaryIO]", [*images.values()]), spec
        )
        check(sources, images)
    results: dict[int, object] = {}
    tokens: dict[int, Tokens | None] = {}
    weights = ""
    if texts:
        embedded = vectors.embed_texts(list(texts.values()), spec)
        check(embedded.vectors, texts)
        results |= zip(texts, embedded.vectors, strict=True)
        tokens |= zip(texts, embedded.tokens, strict=True)
        weights = embedded.weights
    if images:
        pictures = vectors.embed_images(sources, spec)
        check(pictures.vectors, images)
        results |= zip(images, pictures.vectors, strict=True)
        weights = pictures.weights
    ordered = [cast("FloatArray", results[i]) for i in range(total)]
    return Mixed(ordered, [tokens.get(i) for i in range(total)], weights)


def _is_text(item: Item) -> bool:
    return isinstance(item, str | DetachedString)


def _raise_first(
    outcomes: Iterable[object],
    indexes: Iterable[int],
    place: Callable[[int], str],
    param: str | None,
) -> None:
    """Raise the first error among the outcomes, with the place of its item in the message."""
    for index, outcome in zip(indexes, outcomes, strict=True):
        if isinstance(outcome, TwinlensError):
            outcome.message = f"{place(index)}: {outcome.message}"
            outcome.param = param
            raise outcome
