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
from app.blueprints.schemas import ImageSource, OpenAIRequest, Text
from app.errors import BadRequest, TwinlensError, WrongShape
from app.server.json_body import DetachedString
from config.models import ModelSpec

blueprint = Blueprint("openai", __name__, url_prefix="/v1")

_IMAGE = "data:image/"
_URL = ("http://", "https://")


@blueprint.get("/models")
def models() -> ResponseReturnValue:
    """The embedding models."""
    specs = runtime().registry.specs("embedding")
    return jsonify(object="list", data=[_described(spec) for spec in specs])


@blueprint.get("/models/<path:key>")
def model(key: str) -> ResponseReturnValue:
    """One of them."""
    return jsonify(_described(_known(key)))


@blueprint.post("/embeddings")
def embeddings() -> ResponseReturnValue:
    """Texts and images to vectors of L2 norm 1, in order; a bad one fails the request."""
    vectors.require_json()
    wanted, spec = _checked()
    images = {i: item for i, text in enumerate(wanted.input) if (item := _image(text, wanted))}
    others = [i for i in range(len(wanted.input)) if i not in images]
    texts = dict(zip(others, vectors.texts([wanted.input[i] for i in others]), strict=True))
    wanted.input.clear()  # an image may be long, and the request may have to wait
    _look_at(list(texts.values()), texts)
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
    spec = _known(wanted.model)
    if not wanted.input:
        raise InvalidRequest("Give at least one text or image", "input")
    vectors.check_count(len(wanted.input))
    if wanted.dimensions not in (None, dims := vectors.facts(spec)["dims"]):
        raise InvalidRequest(
            f"Vectors of {spec.key} have {dims} dimensions; leave out `dimensions`",
            "dimensions",
        )
    return wanted, spec


def _known(key: str | None) -> ModelSpec:
    """The model of a key, or the default one. Raises ModelNotFound."""
    try:
        return vectors.chosen(key)
    except BadRequest as error:
        raise ModelNotFound(error.message) from None


def _described(spec: ModelSpec) -> dict[str, object]:
    return {"id": spec.key, "object": "model", "created": 0, "owned_by": "twinlens"}


def _image(item: Text, wanted: OpenAIRequest) -> ImageSource | None:
    """An item of the input as an image, if it is one."""
    beginning = (item.text if isinstance(item, DetachedString) else item)[: len(_IMAGE)].lower()
    if wanted.modality == "image":
        if beginning.startswith(_URL):
            return ImageSource.model_construct(image_url=item)
        return ImageSource.model_construct(image_base64=item)
    if wanted.modality is None and beginning == _IMAGE:
        return ImageSource.model_construct(image_base64=item)
    return None


def _look_at(outcomes: Sequence[object], indexes: Iterable[int]) -> None:
    """Raises what is wrong with the first item that has something wrong."""
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
