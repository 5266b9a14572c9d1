# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""The embedding routes of OpenAI's API, so that its clients can embed texts and also images."""

from __future__ import annotations

import re

from flask import Blueprint, jsonify
from flask.typing import ResponseReturnValue

from app.blueprints import mixed, vectors
from app.blueprints.exchange import parse_json, runtime
from app.blueprints.schemas import ImageSource, InputItem, OpenAIRequest, Text
from app.engines.base import FloatArray
from app.errors import BadRequest, Code, NotFound, WrongShape
from app.server.json_body import DetachedString
from app.tasks.quantised import quantised
from config.models import ModelSpec

blueprint = Blueprint("openai", __name__, url_prefix="/v1")

_IMAGE = "data:image/"


class InvalidRequest(BadRequest):
    """Status 400; ``param`` names the wrong field of the body."""

    def __init__(
        self, message: str, param: str, *, code: Code | None = None, reason: str | None = None
    ) -> None:
        super().__init__(message, code=code)
        self.param = param
        self.reason = reason


class ModelNotFound(NotFound):
    """Status 404, with which OpenAI's API answers if a model does not exist."""

    param = "model"
    code = "unknown_model"
    openai_code = "model_not_found"


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
    items: list[mixed.Item] = [
        _image(each, wanted) or _text(each, index) for index, each in enumerate(wanted.input)
    ]
    wanted.input.clear()  # frees long strings, because the request may have to wait
    try:
        found = mixed.embed(items, spec, lambda index: f"input[{index}]", param="input")
    except WrongShape as error:
        raise InvalidRequest(error.message, "input") from None
    data = [
        {"object": "embedding", "index": index, "embedding": _encoded(vector, wanted)}
        for index, vector in enumerate(found.vectors)
    ]
    usage = {"prompt_tokens": found.token_count, "total_tokens": found.token_count}
    body = {"object": "list", "data": data, "model": spec.key, "usage": usage}
    return vectors.json_response(body, found.weights)


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
    if wanted.dimensions is not None and wanted.dimensions != (dims := vectors.known_dims(spec)):
        raise InvalidRequest(
            f"Vectors of {spec.key} have {dims} dimensions; leave out `dimensions`",
            "dimensions",
            code="invalid_option",
            reason="its vectors cannot be shortened, because the model was not trained to put what "
            "matters most into their first numbers; encoding_format=float16, int8 or binary makes "
            "them smaller",
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


def _text(item: Text | InputItem, index: int) -> Text:
    """An input item that is no image. Raises InvalidRequest."""
    if not isinstance(item, InputItem):
        return item
    if item.text is None or item.image is not None:
        raise InvalidRequest(f"input[{index}]: give exactly one of text and image", "input")
    return item.text


def _image(item: Text | InputItem, wanted: OpenAIRequest) -> ImageSource | None:
    """An input item as an image, or None if the item is not one."""
    if isinstance(item, InputItem):
        is_image = item.image is not None and item.text is None
        kind = "image" if is_image else "text"
        if wanted.modality not in (None, kind):
            raise InvalidRequest(
                f"an item has {kind}, but modality is {wanted.modality}: leave out modality, or "
                "send items of one kind",
                "modality",
            )
        return mixed.image_source(item.image) if is_image and item.image is not None else None
    beginning = (item.text if isinstance(item, DetachedString) else item)[: len(_IMAGE)].lower()
    is_image = wanted.modality == "image" or (wanted.modality is None and beginning == _IMAGE)
    return mixed.image_source(item) if is_image else None


def _encoded(vector: FloatArray, wanted: OpenAIRequest) -> object:
    """A vector as its JSON value, in the kind that the request names in OpenAI's or Jina's way."""
    kind = wanted.embedding_type
    if kind == "binary" or kind == "ubinary":
        return quantised(vector, kind)
    return vectors.encoded(vector, kind or wanted.encoding_format)
