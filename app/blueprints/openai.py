# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""The embedding routes of OpenAI's API, so that its clients can embed texts and also images."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Sequence

import numpy as np
from flask import Blueprint, jsonify
from flask.typing import ResponseReturnValue

from app.blueprints import vectors
from app.blueprints.exchange import parse_json, runtime
from app.blueprints.schemas import ImageSource, OpenAIRequest, Text
from app.errors import BadRequest, NotFound, TwinlensError, WrongShape
from app.server.json_body import DetachedString
from config.models import ModelSpec

blueprint = Blueprint("openai", __name__, url_prefix="/v1")

_IMAGE = "data:image/"
_URL = ("http://", "https://")


class InvalidRequest(BadRequest):
    """Status 400; ``param`` names the wrong field of the body."""

    def __init__(self, message: str, param: str) -> None:
        super().__init__(message)
        self.param = param


class ModelNotFound(NotFound):
    """Status 404, with which OpenAI's API answers if a model does not exist."""

    param = "model"
    code = "model_not_found"


@blueprint.get("/models")
def models() -> ResponseReturnValue:
    """List the embedding models."""
    specs = runtime().registry.specs("embedding")
    return jsonify(object="list", data=[_described(spec) for spec in specs])


@blueprint.get("/models/<path:key>")
def model(key: str) -> ResponseReturnValue:
    """Show one embedding model."""
    return jsonify(_described(_requested_model(key)))


@blueprint.post("/embeddings")
def embeddings() -> ResponseReturnValue:
    """Answer texts and images with vectors of L2 norm 1; a bad item fails the whole request."""
    vectors.require_json()
    wanted, spec = _checked()
    images = {i: item for i, text in enumerate(wanted.input) if (item := _image(text, wanted))}
    others = [i for i in range(len(wanted.input)) if i not in images]
    texts = dict(zip(others, vectors.check_texts([wanted.input[i] for i in others]), strict=True))
    wanted.input.clear()  # frees long strings, because the request may have to wait
    _raise_first_error(list(texts.values()), texts)
    found: dict[int, object] = {}
    tokens, weights = 0, ""
    sources = vectors.open_images(list(images.values()), spec) if images else []
    _raise_first_error(sources, images)
    if texts:
        result = vectors.embed_texts(list(texts.values()), spec)
        _raise_first_error(result.vectors, texts)
        found |= zip(texts, result.vectors, strict=True)
        tokens = sum(each.count for each in result.tokens if each)
        weights = result.weights
    if images:
        embedded = vectors.embed_images(sources, spec)
        _raise_first_error(embedded.vectors, images)
        found |= zip(images, embedded.vectors, strict=True)
        weights = embedded.weights
    data = [
        {"object": "embedding", "index": index, "embedding": _encoded(found[index], wanted)}
        for index in sorted(found)
    ]
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    body = {"object": "list", "data": data, "model": spec.key, "usage": usage}
    return vectors.json_response(body, weights)


def _checked() -> tuple[OpenAIRequest, ModelSpec]:
    """Parse and check the body, and find its model; errors get the statuses of OpenAI's API."""
    try:
        wanted = parse_json(OpenAIRequest)
    except WrongShape as error:
        field = re.match(r"\w+", error.message)
        raise InvalidRequest(error.message, field[0] if field else "body") from None
    spec = _requested_model(wanted.model)
    if not wanted.input:
        raise InvalidRequest("Give at least one text or image", "input")
    vectors.check_count(len(wanted.input))
    if wanted.dimensions not in (None, dims := vectors.dims_and_image_size(spec)["dims"]):
        raise InvalidRequest(
            f"Vectors of {spec.key} have {dims} dimensions; leave out `dimensions`",
            "dimensions",
        )
    return wanted, spec


def _requested_model(key: str | None) -> ModelSpec:
    """The model with this key, or the default model. Raises ModelNotFound."""
    try:
        return vectors.requested_model(key)
    except BadRequest as error:
        raise ModelNotFound(error.message) from None


def _described(spec: ModelSpec) -> dict[str, object]:
    return {"id": spec.key, "object": "model", "created": 0, "owned_by": "twinlens"}


def _image(item: Text, wanted: OpenAIRequest) -> ImageSource | None:
    """An input item as an image, or None if the item is a text."""
    beginning = (item.text if isinstance(item, DetachedString) else item)[: len(_IMAGE)].lower()
    if wanted.modality == "image":
        if beginning.startswith(_URL):
            return ImageSource.model_construct(image_url=item)
        return ImageSource.model_construct(image_base64=item)
    if wanted.modality is None and beginning == _IMAGE:
        return ImageSource.model_construct(image_base64=item)
    return None


def _raise_first_error(outcomes: Sequence[object], indexes: Iterable[int]) -> None:
    """Raise the first error among the outcomes, with its item's index in the message."""
    for index, outcome in zip(indexes, outcomes, strict=True):
        if isinstance(outcome, WrongShape):
            raise InvalidRequest(f"input[{index}]: {outcome.message}", "input")
        if isinstance(outcome, TwinlensError):
            outcome.message = f"input[{index}]: {outcome.message}"
            outcome.param = "input"
            raise outcome


def _encoded(vector: object, wanted: OpenAIRequest) -> object:
    if wanted.encoding_format == "float":
        return vector
    return base64.b64encode(np.asarray(vector, "<f4").tobytes()).decode()
