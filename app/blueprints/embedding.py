# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""The image embedder's routes, as Classifarr calls them."""

from __future__ import annotations

import os
from typing import Any, BinaryIO

from flask import Blueprint, Response, jsonify, request
from flask.typing import ResponseReturnValue
from pydantic import ValidationError

from app.blueprints.exchange import note, parse_json, runtime, uploaded_image, wrong_shape
from app.blueprints.schemas import (
    EmbedBatchRequest,
    EmbedOptions,
    EmbedRequest,
    ImageSource,
    decode_base64,
)
from app.bodies import spooled
from app.errors import BadRequest, TooLarge, TwinlensError, UnsupportedType
from app.models.weights import PUBLISHED
from app.runtime import Embeddings
from config.models import ModelSpec

blueprint = Blueprint("embedding", __name__)


@blueprint.get("/models")
def models() -> ResponseReturnValue:
    """The embedding models; "Test Connection" counts them and looks for the chosen one."""
    service = runtime()
    statuses = [service.manager.status(spec) for spec in service.registry.specs("embedding")]
    return jsonify(
        models=[
            {
                "id": status.spec.key,
                "name": status.spec.key,
                "description": status.spec.description,
                "dims": status.spec.dims,
                "image_size": status.spec.image_size,
                "license": status.spec.license,
                "huggingface_id": status.spec.hub_id,
                "state": status.state,
                "weights": status.weights,
            }
            for status in statuses
        ]
    )


@blueprint.post("/embed-image")
def embed_image() -> ResponseReturnValue:
    """Image in, vector out."""
    source, options = _multipart() if request.mimetype == "multipart/form-data" else _json()
    if isinstance(source, TwinlensError):
        raise source
    spec, result = _embed([source], options)
    vector = result.vectors[0]
    if isinstance(vector, TwinlensError):
        raise vector
    body: dict[str, Any] = {
        "embedding": vector.tolist(),
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
    spec, result = _embed([_source(item) for item in wanted.items], wanted)
    common = {"model": spec.key, "image_size": result.image_size}
    results: list[dict[str, Any]] = []
    fields: dict[str, Any]
    for index, vector in enumerate(result.vectors):
        if isinstance(vector, TwinlensError):
            fields = {"status": "error", "error": f"{vector.title}: {vector.message}"}
        else:
            fields = {"status": "ok", "embedding": vector.tolist(), "dims": vector.size}
        results.append({"index": index, **fields, **common})
    succeeded = sum(each["status"] == "ok" for each in results)
    counts = {"total": len(results), "succeeded": succeeded, "failed": len(results) - succeeded}
    return _marked({**common, **counts, "results": results}, result)


def _embed(
    sources: list[BinaryIO | TwinlensError], options: EmbedOptions
) -> tuple[ModelSpec, Embeddings]:
    service = runtime()
    spec = service.registry.get(options.model or service.settings.default_model, "embedding")
    result = service.embed(
        sources, spec, normalize=options.normalize, image_size=options.image_size
    )
    note(spec, result.timings)
    return spec, result


def _marked(body: dict[str, Any], result: Embeddings) -> Response:
    """The answer; vectors of other than the published weights say so."""
    if result.weights != PUBLISHED:
        body["weights"] = result.weights
    response = jsonify(body)
    response.headers["X-Model-Weights"] = result.weights
    return response


def _json() -> tuple[BinaryIO | TwinlensError, EmbedOptions]:
    _require_json()
    wanted = parse_json(EmbedRequest)
    return _source(wanted), wanted


def _require_json() -> None:
    if not request.is_json:
        raise UnsupportedType("Send application/json, or a file 'image' as multipart/form-data")


def _multipart() -> tuple[BinaryIO | TwinlensError, EmbedOptions]:
    image, _ = uploaded_image()
    try:
        options = EmbedOptions.model_validate(request.form.to_dict())
    except ValidationError as error:
        raise wrong_shape(error) from None
    return _within_budget(image), options


def _source(item: ImageSource) -> BinaryIO | TwinlensError:
    """The image's bytes, or what is wrong with the item."""
    if (item.image_url is None) == (item.image_base64 is None):
        return BadRequest("Give exactly one of image_url and image_base64")
    try:
        if item.image_url is not None:
            return runtime().fetcher.fetch(item.image_url)
        assert item.image_base64 is not None
        image = spooled(decode_base64(item.image_base64))
        item.image_base64 = None  # it may be long, and the request may have to wait
        return _within_budget(image)
    except TwinlensError as error:
        return error


def _within_budget(image: BinaryIO) -> BinaryIO | TwinlensError:
    budget = runtime().settings.max_image_bytes
    size = image.seek(0, os.SEEK_END)
    image.seek(0)
    if size <= budget:
        return image
    return TooLarge(f"The image has {size} bytes; at most {budget} are accepted (MAX_IMAGE_BYTES)")
