# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""The routes that embed images, with the addresses and fields that Classifarr uses."""

from __future__ import annotations

from typing import Any, BinaryIO

from flask import Blueprint, jsonify, request
from flask.typing import ResponseReturnValue
from pydantic import ValidationError

from app.blueprints import vectors
from app.blueprints.exchange import parse_json, runtime, uploaded_image, wrong_shape
from app.blueprints.schemas import EmbedBatchRequest, EmbedOptions, EmbedRequest, ImageSource
from app.errors import TwinlensError
from app.hub.weights import BUILT_IN

blueprint = Blueprint("embedding", __name__)

_FORM = ", or a file 'image' as multipart/form-data"


@blueprint.get("/models")
def models() -> ResponseReturnValue:
    """List the embedding models; Classifarr's "Test Connection" looks for its model among them."""
    service = runtime()
    statuses = [service.reports.status(spec) for spec in service.registry.specs("embedding")]
    return jsonify(
        models=[
            {
                "id": status.spec.key,
                "name": status.spec.key,
                "description": status.spec.description,
                **vectors.dims_and_image_size(status.spec),
                "license": status.spec.license,
                "huggingface_id": status.spec.hub_id or BUILT_IN,
                "state": status.state,
                "weights": status.network.weights,
            }
            for status in statuses
        ]
    )


@blueprint.post("/embed-image")
def embed_image() -> ResponseReturnValue:
    """Answer an image with its vector."""
    item, options = _multipart() if request.mimetype == "multipart/form-data" else _json()
    spec = vectors.requested_model(options.model)
    (source,) = vectors.open_images([item], spec)
    if isinstance(source, TwinlensError):
        raise source  # a bad image fails here, before it takes a place in the waiting room
    result = vectors.embed_images(
        [source], spec, normalize=options.normalize, image_size=options.image_size
    )
    vector = result.vectors[0]
    if isinstance(vector, TwinlensError):
        raise vector
    body: dict[str, Any] = {
        "embedding": vectors.encoded(vector, options.encoding_format),
        "dims": vector.size,
        "provider": "local",
        "model": spec.key,
        "image_size": result.image_size,
    }
    return vectors.answer_with_weights(body, result.weights)


@blueprint.post("/embed-batch")
def embed_batch() -> ResponseReturnValue:
    """Answer several images with their vectors; an image that fails does not fail the others."""
    vectors.require_json()
    wanted = parse_json(EmbedBatchRequest)
    vectors.check_count(len(wanted.items))
    spec = vectors.requested_model(wanted.model)
    sources = vectors.open_images(wanted.items, spec)
    result = vectors.embed_images(
        sources, spec, normalize=wanted.normalize, image_size=wanted.image_size
    )
    common = {"model": spec.key, "image_size": result.image_size}
    body = vectors.batch_body(common, result.vectors, encoding=wanted.encoding_format)
    return vectors.answer_with_weights(body, result.weights)


def _json() -> tuple[ImageSource, EmbedOptions]:
    vectors.require_json(_FORM)
    wanted = parse_json(EmbedRequest)
    return wanted, wanted


def _multipart() -> tuple[BinaryIO, EmbedOptions]:
    image, _ = uploaded_image()
    try:
        # A form that a page makes has an empty field for each option that was not chosen.
        given = {name: value for name, value in request.form.items() if value}
        options = EmbedOptions.model_validate(given)
    except ValidationError as error:
        raise wrong_shape(error) from None
    return image, options
