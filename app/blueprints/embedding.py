# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""The image embedder's routes, as Classifarr calls them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, BinaryIO

import orjson
from flask import Blueprint, Response, jsonify, request
from flask.typing import ResponseReturnValue
from pydantic import ValidationError

from app.blueprints.exchange import (
    client_is_gone,
    note,
    parse_json,
    runtime,
    uploaded_image,
    wrong_shape,
)
from app.blueprints.schemas import (
    EmbedBatchRequest,
    EmbedOptions,
    EmbedRequest,
    ImageSource,
    decode_base64,
)
from app.bodies import spooled
from app.errors import BadRequest, TooLarge, TwinlensError, UnsupportedType
from app.models.weights import BUILT_IN, PUBLISHED
from app.pipeline import Embeddings
from app.runtime import Runtime
from config.models import ModelSpec

blueprint = Blueprint("embedding", __name__)

_JSON = "application/json"

# Of a batch; a slow host delays the others of its batch, not the service.
_FETCHES_AT_A_TIME = 8


@blueprint.get("/models")
def models() -> ResponseReturnValue:
    """The embedding models; "Test Connection" counts them and looks for the chosen one."""
    service = runtime()
    statuses = [service.reports.status(spec) for spec in service.registry.specs("embedding")]
    return jsonify(
        models=[
            {
                "id": status.spec.key,
                "name": status.spec.key,
                "description": status.spec.description,
                "dims": status.spec.dims,
                "image_size": status.spec.image_size,
                "license": status.spec.license,
                "huggingface_id": status.spec.hub_id or BUILT_IN,
                "state": status.state,
                "weights": status.weights,
            }
            for status in statuses
        ]
    )


@blueprint.post("/embed-image")
def embed_image() -> ResponseReturnValue:
    """Image in, vector out."""
    item, options = _multipart() if request.mimetype == "multipart/form-data" else _json()
    spec, (source,) = _sources([item], options)
    if isinstance(source, TwinlensError):
        raise source  # without waiting for a turn
    result = _embed([source], spec, options)
    vector = result.vectors[0]
    if isinstance(vector, TwinlensError):
        raise vector
    body: dict[str, Any] = {
        "embedding": vector,
        "dims": vector.size,
        "provider": "local",
        "model": spec.key,
        "image_size": result.image_size,
    }
    return _marked(body, result)


@blueprint.post("/embed-batch")
def embed_batch() -> ResponseReturnValue:
    """Several images in one batch; a bad one does not spoil the others."""
    _require_json()
    wanted = parse_json(EmbedBatchRequest)
    limit = runtime().settings.embed_batch_api_max_items
    if len(wanted.items) > limit:
        raise TooLarge(
            f"The batch has {len(wanted.items)} items; "
            f"at most {limit} are accepted (EMBED_BATCH_API_MAX_ITEMS)"
        )
    spec, sources = _sources(wanted.items, wanted)
    result = _embed(sources, spec, wanted)
    common = {"model": spec.key, "image_size": result.image_size}
    results: list[dict[str, Any]] = []
    fields: dict[str, Any]
    for index, vector in enumerate(result.vectors):
        if isinstance(vector, TwinlensError):
            fields = {"status": "error", "error": f"{vector.title}: {vector.message}"}
        else:
            fields = {"status": "ok", "embedding": vector, "dims": vector.size}
        results.append({"index": index, **fields, **common})
    succeeded = sum(each["status"] == "ok" for each in results)
    counts = {"total": len(results), "succeeded": succeeded, "failed": len(results) - succeeded}
    return _marked({**common, **counts, "results": results}, result)


def _sources(
    items: Sequence[ImageSource | BinaryIO], options: EmbedOptions
) -> tuple[ModelSpec, list[BinaryIO | TwinlensError]]:
    """The model, and each image as a file or what is wrong with the item."""
    service = runtime()
    spec = service.registry.get(options.model or service.settings.default_model, "embedding")
    service.manager.check(spec)  # before anything is fetched for nothing
    if len(items) == 1:  # the usual request needs no thread for it
        return spec, [_source(service, items[0])]
    with ThreadPoolExecutor(_FETCHES_AT_A_TIME) as pool:
        return spec, list(pool.map(partial(_source, service), items))


def _embed(
    sources: Sequence[BinaryIO | TwinlensError], spec: ModelSpec, options: EmbedOptions
) -> Embeddings:
    result = runtime().pipeline.embed(
        sources,
        spec,
        normalize=options.normalize,
        image_size=options.image_size,
        is_gone=client_is_gone(),
    )
    note(spec, result.timings)
    return result


def _marked(body: dict[str, Any], result: Embeddings) -> Response:
    """The answer; vectors of other than the published weights say so."""
    if result.weights != PUBLISHED:
        body["weights"] = result.weights
    response = Response(orjson.dumps(body, option=orjson.OPT_SERIALIZE_NUMPY), mimetype=_JSON)
    response.headers["X-Model-Weights"] = result.weights
    return response


def _json() -> tuple[ImageSource, EmbedOptions]:
    _require_json()
    wanted = parse_json(EmbedRequest)
    return wanted, wanted


def _require_json() -> None:
    if not request.is_json:
        raise UnsupportedType("Send application/json, or a file 'image' as multipart/form-data")


def _multipart() -> tuple[BinaryIO, EmbedOptions]:
    image, _ = uploaded_image()
    try:
        options = EmbedOptions.model_validate(request.form.to_dict())
    except ValidationError as error:
        raise wrong_shape(error) from None
    return image, options


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
