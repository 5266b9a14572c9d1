# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""What the routes that give vectors share: models, sources of images, answers."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, BinaryIO

import orjson
from flask import Response, request

from app.blueprints.exchange import client_is_gone, note, runtime
from app.blueprints.schemas import ImageSource, decode_base64
from app.bodies import spooled
from app.engines.base import FloatArray
from app.errors import BadRequest, TooLarge, TwinlensError, UnsupportedType
from app.models.weights import PUBLISHED
from app.results import Embeddings, TextEmbeddings
from app.runtime import Runtime
from config.models import ModelSpec

_JSON = "application/json"

# Of a batch; a slow host delays the others of its batch, not the service.
_FETCHES_AT_A_TIME = 8


def require_json(other: str = "") -> None:
    """Raises UnsupportedType, whose message may name another way."""
    if not request.is_json:
        raise UnsupportedType(f"Send application/json{other}")


def chosen(key: str | None) -> ModelSpec:
    """The model of a request. Raises BadRequest."""
    service = runtime()
    return service.registry.get(key or service.settings.default_model, "embedding")


def check_count(count: int) -> None:
    """Raises TooLarge above the operator's limit."""
    limit = runtime().settings.embed_batch_api_max_items
    if count > limit:
        raise TooLarge(
            f"The batch has {count} items; at most {limit} are accepted (EMBED_BATCH_API_MAX_ITEMS)"
        )


def images(
    items: Sequence[ImageSource | BinaryIO], spec: ModelSpec
) -> list[BinaryIO | TwinlensError]:
    """Each image as a file, or what is wrong with the item.

    Raises:
        NotAvailable: the model is not; nothing is fetched for nothing.
    """
    service = runtime()
    service.manager.check(spec)
    if len(items) == 1:  # the usual request needs no thread for it
        return [_source(service, items[0])]
    with ThreadPoolExecutor(_FETCHES_AT_A_TIME) as pool:
        return list(pool.map(partial(_source, service), items))


def embed_images(
    sources: Sequence[BinaryIO | TwinlensError],
    spec: ModelSpec,
    *,
    normalize: bool = True,
    image_size: int | None = None,
) -> Embeddings:
    """The vectors of ``images``, see the pipeline; told to the log."""
    result = runtime().pipeline.embed(
        sources, spec, normalize=normalize, image_size=image_size, is_gone=client_is_gone()
    )
    note(spec, result)
    return result


def embed_texts(texts: Sequence[str], spec: ModelSpec, *, normalize: bool = True) -> TextEmbeddings:
    """The vectors of texts, see the pipeline; told to the log."""
    result = runtime().pipeline.embed_texts(
        texts, spec, normalize=normalize, is_gone=client_is_gone()
    )
    note(spec, result)
    return result


def batch_body(
    common: dict[str, Any],
    vectors: Iterable[FloatArray | TwinlensError],
    details: Iterable[dict[str, Any]] | None = None,
) -> dict[str, Any]:
    """The body of a batch's answer.

    Args:
        common: what stands in the body and in each result.
        vectors: in the order of the items, or what was wrong with one.
        details: more of each result that is a vector.
    """
    results: list[dict[str, Any]] = []
    more = iter(details or ())
    for index, vector in enumerate(vectors):
        fields: dict[str, Any]
        detail = next(more, {})
        if isinstance(vector, TwinlensError):
            fields = {"status": "error", "error": f"{vector.title}: {vector.message}"}
        else:
            fields = {"status": "ok", "embedding": vector, "dims": vector.size, **detail}
        results.append({"index": index, **fields, **common})
    succeeded = sum(each["status"] == "ok" for each in results)
    counts = {"total": len(results), "succeeded": succeeded, "failed": len(results) - succeeded}
    return {**common, **counts, "results": results}


def marked(body: dict[str, Any], weights: str) -> Response:
    """The answer; vectors of other than the published weights say so."""
    if weights != PUBLISHED:
        body["weights"] = weights
    return answer(body, weights)


def answer(body: dict[str, Any], weights: str) -> Response:
    """As JSON, in which vectors may stand."""
    response = Response(orjson.dumps(body, option=orjson.OPT_SERIALIZE_NUMPY), mimetype=_JSON)
    response.headers["X-Model-Weights"] = weights
    return response


def _source(service: Runtime, item: ImageSource | BinaryIO) -> BinaryIO | TwinlensError:
    """The image as a file, or what is wrong with the item."""
    try:
        return _within_budget(_open(service, item), service.settings.max_image_bytes)
    except TwinlensError as error:
        return error


def _open(service: Runtime, item: ImageSource | BinaryIO) -> BinaryIO:
    if not isinstance(item, ImageSource):
        return item
    if (item.image_url is None) == (item.image_base64 is None):
        raise BadRequest("Give exactly one of image_url and image_base64")
    if item.image_url is not None:
        return service.fetcher.fetch(item.image_url)
    assert item.image_base64 is not None
    image = spooled(decode_base64(item.image_base64))
    item.image_base64 = None  # it may be long, and the request may have to wait
    return image


def _within_budget(image: BinaryIO, budget: int) -> BinaryIO:
    size = image.seek(0, os.SEEK_END)
    image.seek(0)
    if size > budget:
        raise TooLarge(
            f"The image has {size} bytes; at most {budget} are accepted (MAX_IMAGE_BYTES)"
        )
    return image
