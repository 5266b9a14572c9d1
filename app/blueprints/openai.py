# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""OpenAI's routes for vectors, for programs that know only those: texts, and images beside them."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Sequence

import numpy as np
from flask import Blueprint, jsonify
from flask.typing import ResponseReturnValue

from app.blueprints import vectors
from app.blueprints.exchange import parse_json, runtime
from app.blueprints.openai_errors import InvalidRequest, ModelNotFound
from app.blueprints.schemas import ImageSource, OpenAIRequest
from app.errors import BadRequest, TwinlensError, WrongShape
from config.models import ModelSpec

blueprint = Blueprint("openai", __name__, url_prefix="/v1")

_IMAGE = "data:image/"
_URL = ("http://", "https://")


@blueprint.get("/models")
def models() -> ResponseReturnValue:
    """The embedding models."""
    specs = runtime().registry.specs("embedding")
    data = [
        {"id": spec.key, "object": "model", "created": 0, "owned_by": "twinlens"} for spec in specs
    ]
    return jsonify(object="list", data=data)


@blueprint.post("/embeddings")
def embeddings() -> ResponseReturnValue:
    """Texts and images to vectors of L2 norm 1, in order; a bad one fails the request."""
    vectors.require_json()
    wanted, spec = _checked()
    images = {i: item for i, text in enumerate(wanted.input) if (item := _image(text, wanted))}
    texts = {i: text for i, text in enumerate(wanted.input) if i not in images}
    wanted.input.clear()  # an image may be long, and the request may have to wait
    found: dict[int, object] = {}
    tokens, weights = 0, ""
    sources = vectors.images(list(images.values()), spec) if images else []
    _look_at(sources, images)
    if texts:
        result = vectors.embed_texts(list(texts.values()), spec)
        _look_at(result.vectors, texts)
        found |= zip(texts, result.vectors, strict=True)
        tokens = sum(each.count for each in result.tokens if each)
        weights = result.weights
    if images:
        embedded = vectors.embed_images(sources, spec)
        _look_at(embedded.vectors, images)
        found |= zip(images, embedded.vectors, strict=True)
        weights = embedded.weights
    data = [
        {"object": "embedding", "index": index, "embedding": _encoded(found[index], wanted)}
        for index in sorted(found)
    ]
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    body = {"object": "list", "data": data, "model": spec.key, "usage": usage}
    return vectors.answer(body, weights)


def _checked() -> tuple[OpenAIRequest, ModelSpec]:
    """The body and the model, both right. Raises OpenAI's statuses, not ours."""
    try:
        wanted = parse_json(OpenAIRequest)
    except WrongShape as error:
        field = re.match(r"\w+", error.message)
        raise InvalidRequest(error.message, field[0] if field else "body") from None
    try:
        spec = vectors.chosen(wanted.model)
    except BadRequest as error:
        raise ModelNotFound(error.message) from None
    if not wanted.input:
        raise InvalidRequest("Give at least one text or image", "input")
    vectors.check_count(len(wanted.input))
    if wanted.dimensions not in (None, spec.dims):
        raise InvalidRequest(
            f"Vectors of {spec.key} have {spec.dims} dimensions; leave out `dimensions`",
            "dimensions",
        )
    return wanted, spec


def _image(text: str, wanted: OpenAIRequest) -> ImageSource | None:
    """An item of the input as an image, if it is one."""
    if wanted.modality == "image":
        if text[:8].lower().startswith(_URL):
            return ImageSource(image_url=text)
        return ImageSource(image_base64=text)
    if wanted.modality is None and text[: len(_IMAGE)].lower() == _IMAGE:
        return ImageSource(image_base64=text)
    return None


def _look_at(outcomes: Sequence[object], indexes: Iterable[int]) -> None:
    """Raises what is wrong with the first item that has something wrong."""
    for index, outcome in zip(indexes, outcomes, strict=True):
        if isinstance(outcome, TwinlensError):
            outcome.message = f"input[{index}]: {outcome.message}"
            outcome.param = "input"
            raise outcome


def _encoded(vector: object, wanted: OpenAIRequest) -> object:
    if wanted.encoding_format == "float":
        return vector
    return base64.b64encode(np.asarray(vector, "<f4").tobytes()).decode()
