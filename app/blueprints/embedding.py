# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""The image embedder's routes, as Classifarr calls them."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from flask import Blueprint, Response, jsonify, request
from flask.typing import ResponseReturnValue
from pydantic import ValidationError

from app.blueprints.exchange import runtime, uploaded_image
from app.blueprints.schemas import EmbedOptions, EmbedRequest, decode_base64
from app.errors import BadRequest, TooLarge, UnsupportedType, WrongShape
from app.models.weights import PUBLISHED

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
    service = runtime()
    image, options = _multipart() if request.mimetype == "multipart/form-data" else _json()
    spec = service.registry.get(options.model or service.settings.default_model, "embedding")
    result = service.embed(image, spec, normalize=options.normalize, image_size=options.image_size)
    body: dict[str, Any] = {
        "embedding": result.vector.tolist(),
        "dims": result.vector.size,
        "provider": "local",
        "model": spec.key,
        "image_size": result.image_size,
    }
    if result.weights != PUBLISHED:  # nobody shall take these vectors for real ones
        body["weights"] = result.weights
    response = jsonify(body)
    response.headers["X-Model-Weights"] = result.weights
    return response


@blueprint.after_request
def _queue_headers(response: Response) -> Response:
    if request.method == "POST":
        for name, value in asdict(runtime().waiting_room.figures()).items():
            header = "-".join(word.capitalize() for word in name.split("_"))
            response.headers[f"X-Queue-{header}"] = f"{value:g}"
    return response


def _json() -> tuple[bytes, EmbedOptions]:
    if not request.is_json:
        raise UnsupportedType("Send application/json, or multipart/form-data with a file 'image'")
    try:
        wanted = EmbedRequest.model_validate_json(request.get_data())
    except ValidationError as error:
        raise WrongShape(_explain(error)) from None
    if (wanted.image_url is None) == (wanted.image_base64 is None):
        raise BadRequest("Give exactly one of image_url and image_base64")
    if wanted.image_base64 is None:
        raise BadRequest("Remote image URLs are turned off; send the image as image_base64")
    return _within_budget(decode_base64(wanted.image_base64)), wanted


def _multipart() -> tuple[bytes, EmbedOptions]:
    image, _ = uploaded_image()
    try:
        options = EmbedOptions.model_validate(request.form.to_dict())
    except ValidationError as error:
        raise WrongShape(_explain(error)) from None
    return _within_budget(image), options


def _within_budget(image: bytes) -> bytes:
    budget = runtime().settings.max_image_bytes
    if len(image) > budget:
        raise TooLarge(
            f"The image has {len(image)} bytes; at most {budget} are accepted (MAX_IMAGE_BYTES)"
        )
    return image


def _explain(error: ValidationError) -> str:
    return "; ".join(
        f"{'.'.join(str(part) for part in detail['loc']) or 'body'}: {detail['msg']}"
        for detail in error.errors(include_input=False, include_url=False)
    )
