# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Helpers of all routes that answer vectors: they choose the model, read inputs and answer."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, BinaryIO

import orjson
from flask import Response, request

from app.blueprints import headers
from app.blueprints.exchange import cancellation_check, disconnect_check, record_result, runtime
from app.blueprints.schemas import Encoding, ImageSource, Text
from app.engines.base import FloatArray, LoadError
from app.errors import BadRequest, TooLarge, TooSlow, TwinlensError, UnsupportedType, WrongShape
from app.hub.weights import PUBLISHED
from app.lending.entry import not_available
from app.lending.registry import networks_of
from app.models.tokens import MAX_CHARACTERS
from app.remote.fetch import check_length
from app.runtime import Runtime
from app.server.bodies import BODY, BoundedBody
from app.server.inline_images import decode_image
from app.server.json_body import DetachedString
from app.tasks.quantised import Kind, as_base64, quantised
from app.tasks.results import Embeddings, TextEmbeddings
from config.models import ModelSpec

_JSON = "application/json"
_KINDS: dict[Encoding, Kind] = {
    "base64": "float32",
    "float16": "float16",
    "int8": "int8",
    # As bytes, the bits themselves; ``binary`` of ``quantised`` is for lists of signed numbers.
    "binary": "ubinary",
}

# Remote images of one batch may take this many times the request timeout together, so that a slow
# host cannot delay the other images of its batch for longer.
_MAX_FETCHES_IN_A_ROW = 4


def require_json(other: str = "") -> None:
    """Raise UnsupportedType unless the body is JSON; ``other`` names a further way to send it."""
    if not request.is_json:
        raise UnsupportedType(f"Send application/json{other}")


def requested_model(key: str | None) -> ModelSpec:
    """The embedding model that a request names, or the default one. Raises BadRequest."""
    service = runtime()
    return service.registry.get(key or service.settings.default_model, "embedding")


def dims_and_image_size(spec: ModelSpec) -> dict[str, int | None]:
    """``dims`` and ``image_size`` of a model, from its row or its checkpoint.

    A value is None while the row does not state it and the checkpoint is not on disk yet.
    """
    if spec.dims is not None and spec.image_size is not None:
        return {"dims": spec.dims, "image_size": spec.image_size}
    family: Any = runtime().manager.family(spec)
    return {
        "dims": family.dims if family else spec.dims,
        "image_size": family.image_size if family else spec.image_size,
    }


def known_dims(spec: ModelSpec) -> int:
    """The number of dimensions of a model's vectors.

    Raises:
        NotAvailable: it is not known yet, because the model is not on disk; this starts its
            download.
    """
    dims = dims_and_image_size(spec)["dims"]
    if dims is None:
        runtime().manager.check(networks_of(spec)[0])
        dims = dims_and_image_size(spec)["dims"]
    if dims is None:
        raise not_available(spec, LoadError("its checkpoint cannot be read"))
    return dims


def check_count(count: int) -> None:
    """Raise TooLarge if a batch has more items than the operator allows."""
    limit = runtime().settings.embed_batch_api_max_items
    if count > limit:
        raise TooLarge(
            f"The batch has {count} items; at most {limit} are accepted "
            "(EMBED_BATCH_API_MAX_ITEMS)",
            code="batch_too_large",
        )


def open_images(
    items: Sequence[ImageSource | BinaryIO], spec: ModelSpec
) -> list[BinaryIO | TwinlensError]:
    """Open each image as a file; an item that cannot be read becomes its error.

    Remote images are fetched in parallel.

    Raises:
        NotAvailable: the model cannot serve, which is checked before any image is fetched.
    """
    service = runtime()
    service.manager.check(networks_of(spec)[0])
    source = _ImageOpener(service, cancellation_check(), request.environ[BODY]).open
    found: list[BinaryIO | TwinlensError | None] = [
        None if isinstance(item, ImageSource) and item.image_url is not None else source(item)
        for item in items
    ]
    remote = [item for item, image in zip(items, found, strict=True) if image is None]
    fetched = iter(service.helpers.map(source, remote, cancellation_check()) if remote else ())
    return [next(fetched) if image is None else image for image in found]


def embed_images(
    sources: Sequence[BinaryIO | TwinlensError],
    spec: ModelSpec,
    *,
    normalize: bool = True,
    image_size: int | None = None,
) -> Embeddings:
    """Embed the images that ``open_images`` returned, and record the result for headers and log."""
    result = runtime().embedding.images(
        sources, spec, normalize=normalize, image_size=image_size, is_gone=disconnect_check()
    )
    record_result(spec, result)
    return result


def check_texts(items: Sequence[Text]) -> list[str | TwinlensError]:
    """Check each text; an item that cannot be embedded becomes its error."""
    return [_text(item) for item in items]


def too_long(characters: int) -> TooLarge | None:
    """The error of a text with this many characters; None if they are not too many."""
    if characters <= MAX_CHARACTERS:
        return None
    return TooLarge(
        f"The text has {characters} characters; at most {MAX_CHARACTERS} are accepted",
        code="text_too_long",
    )


def embed_texts(
    sources: Sequence[str | TwinlensError], spec: ModelSpec, *, normalize: bool = True
) -> TextEmbeddings:
    """Embed the texts that ``check_texts`` returned, and record the result for headers and log.

    An error among the texts takes the place of its vector in the result.
    """
    good = [source for source in sources if isinstance(source, str)]
    result = runtime().embedding.texts(good, spec, normalize=normalize, is_gone=disconnect_check())
    record_result(spec, result)
    outcomes = iter(zip(result.vectors, result.tokens, strict=True))
    merged = [
        (source, None) if isinstance(source, TwinlensError) else next(outcomes)
        for source in sources
    ]
    return replace(
        result, vectors=[vector for vector, _ in merged], tokens=[tokens for _, tokens in merged]
    )


def encoded(vector: FloatArray, encoding: Encoding) -> FloatArray | str:
    """A vector as its JSON value: numbers, or base64."""
    if encoding == "float":
        return vector
    return as_base64(quantised(vector, _KINDS[encoding]))


def batch_body(
    common: dict[str, Any],
    vectors: Iterable[FloatArray | TwinlensError],
    details: Iterable[dict[str, Any]] | None = None,
    *,
    encoding: Encoding = "float",
) -> dict[str, Any]:
    """The JSON body that answers a batch.

    Args:
        common: fields that are added both to the body and to each result.
        vectors: the vector of each item, or its error, in the order of the items.
        details: further fields for each item, used where the item has a vector.
        encoding: how vectors are written.
    """
    results: list[dict[str, Any]] = []
    more = iter(details or ())
    for index, vector in enumerate(vectors):
        fields: dict[str, Any]
        detail = next(more, {})
        if isinstance(vector, TwinlensError):
            error = f"{vector.title}: {vector.message}"
            fields = {"status": "error", "error": error, "code": vector.code}
        else:
            value = encoded(vector, encoding)
            fields = {"status": "ok", "embedding": value, "dims": vector.size, **detail}
        results.append({"index": index, **fields, **common})
    succeeded = sum(each["status"] == "ok" for each in results)
    counts = {"total": len(results), "succeeded": succeeded, "failed": len(results) - succeeded}
    return {**common, **counts, "results": results}


def answer_with_weights(body: dict[str, Any], weights: str) -> Response:
    """A JSON response whose body names the weights, unless they are the published ones."""
    if weights != PUBLISHED:
        body["weights"] = weights
    return json_response(body, weights)


def json_response(body: dict[str, Any], weights: str) -> Response:
    """A JSON response; the body may contain vectors as NumPy arrays."""
    response = Response(orjson.dumps(body, option=orjson.OPT_SERIALIZE_NUMPY), mimetype=_JSON)
    response.headers[headers.MODEL_WEIGHTS] = weights
    return response


def _text(item: Text) -> str | TwinlensError:
    if isinstance(item, str):
        return too_long(len(item)) or item
    if error := too_long(item.length):
        return error
    try:
        item.text.encode()
    except UnicodeEncodeError:
        return WrongShape(
            "The text has a lone surrogate in it (such as \\ud800), which stands for no character",
            title="Invalid text",
        )
    return item.text


def _url(item: Text) -> str:
    if isinstance(item, DetachedString):
        check_length(item.length)
        return item.text
    return item


class _ImageOpener:
    """Opens the images of one request as files."""

    def __init__(
        self, service: Runtime, check_cancelled: Callable[[], None], body: BoundedBody
    ) -> None:
        self._service = service
        self._check_cancelled = check_cancelled
        self._body = body
        self._max_bytes = service.settings.max_image_bytes
        seconds = service.settings.request_timeout_seconds * _MAX_FETCHES_IN_A_ROW
        self._end = time.monotonic() + seconds

    def open(self, item: ImageSource | BinaryIO) -> BinaryIO | TwinlensError:
        """The image as a file, or its error. Safe to call from any thread."""
        try:
            if isinstance(item, ImageSource):
                return self._open(item)
            return self._within_budget(item)
        except TwinlensError as error:
            return error

    def _open(self, item: ImageSource) -> BinaryIO:
        if (item.image_url is None) == (item.image_base64 is None):
            raise BadRequest("Give exactly one of image_url and image_base64")
        if item.image_url is not None:
            if time.monotonic() > self._end:
                raise TooSlow(
                    "The hosts of this batch's images have taken too long together",
                    code="remote_timeout",
                )
            return self._service.fetcher.fetch(
                _url(item.image_url), check_cancelled=self._check_cancelled, hold=self._body.hold
            )
        image, item.image_base64 = item.image_base64, None  # frees a long string
        if isinstance(image, DetachedString):
            return image.image()
        assert image is not None
        return decode_image(image, self._max_bytes)

    def _within_budget(self, image: BinaryIO) -> BinaryIO:
        size = image.seek(0, os.SEEK_END)
        image.seek(0)
        if size > self._max_bytes:
            raise TooLarge(
                f"The image has {size} bytes; at most {self._max_bytes} are accepted "
                "(MAX_IMAGE_BYTES)",
                code="image_too_large",
            )
        return image
