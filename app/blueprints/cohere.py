# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""The embedding route of Cohere's API, version 2: texts, images, or both in one list."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, g
from flask.typing import ResponseReturnValue

from app.blueprints import mixed, vectors
from app.blueprints.exchange import parse_json
from app.blueprints.schemas import Text
from app.blueprints.shapes import CohereInput, CohereRequest, EmbeddingType
from app.engines.base import FloatArray
from app.errors import BadRequest, TooLarge
from app.server.json_body import DetachedString
from app.tasks.quantised import Kind, as_base64, quantised
from config.models import ModelSpec

blueprint = Blueprint("cohere", __name__, url_prefix="/v2")

_KINDS: dict[EmbeddingType, Kind] = {
    "float": "float32",
    "int8": "int8",
    "uint8": "uint8",
    "binary": "binary",
    "ubinary": "ubinary",
    "base64": "float32",
}


@blueprint.post("/embed")
def embed() -> ResponseReturnValue:
    """Answer texts and images with vectors in each type that was asked for."""
    vectors.require_json()
    wanted = parse_json(CohereRequest)
    spec = vectors.requested_model(wanted.model)
    _check_options(wanted, spec)
    name, items = _items(wanted)
    vectors.check_count(len(items))
    echoed = _echo(wanted.texts or [])
    for each in (wanted.texts, wanted.images, wanted.inputs):
        if each:
            each.clear()  # frees long strings, because the request may have to wait
    found = mixed.embed(items, spec, lambda index: f"{name}[{index}]")
    if wanted.truncate == "NONE":
        for index, tokens in enumerate(found.tokens):
            if tokens is not None and tokens.truncated:
                raise TooLarge(
                    f"{name}[{index}]: the text has more than the {tokens.count} tokens that "
                    f"{spec.key} reads; leave out `truncate`, or shorten it",
                    code="text_too_long",
                )
    plain: list[EmbeddingType] = ["float"]
    kinds = dict.fromkeys(wanted.embedding_types or plain)
    body: dict[str, Any] = {
        "id": g.request_id,
        "response_type": "embeddings_by_type",
        "embeddings": {kind: [_encoded(each, kind) for each in found.vectors] for kind in kinds},
        "texts": echoed,
        "meta": {
            "api_version": {"version": "2"},
            "billed_units": {"input_tokens": found.token_count, "images": found.image_count},
        },
    }
    return vectors.json_response(body, found.weights)


def _check_options(wanted: CohereRequest, spec: ModelSpec) -> None:
    """Raises BadRequest for options that these models cannot fulfil, or NotAvailable."""
    if wanted.max_tokens is not None:
        raise BadRequest("max_tokens: it is not supported; leave it out")
    if wanted.truncate == "START":
        raise BadRequest("truncate: START is not supported; END and NONE are")
    size = wanted.output_dimension
    if size is not None and size != (dims := vectors.known_dims(spec)):
        raise BadRequest(
            f"output_dimension: vectors of {spec.key} have {dims} dimensions; leave it out"
        )


def _items(wanted: CohereRequest) -> tuple[str, list[mixed.Item]]:
    """The name of the list that the request has, and its items. Raises BadRequest."""
    given = {
        name: found
        for name in ("texts", "images", "inputs")
        if (found := getattr(wanted, name)) is not None
    }
    if len(given) != 1:
        raise BadRequest("Give exactly one of texts, images and inputs")
    ((name, found),) = given.items()
    if name == "texts":
        return name, list(found)
    if name == "images":
        return name, [mixed.image_source(each) for each in found]
    return name, [_content(each, f"inputs[{index}]") for index, each in enumerate(found)]


def _content(each: CohereInput, place: str) -> mixed.Item:
    if len(each.content) > 1:
        raise BadRequest(
            f"{place}: it has {len(each.content)} parts; these models make one vector of one text "
            "or one image, so send each part as an input of its own"
        )
    (part,) = each.content
    if part.type == "text" and part.text is not None and part.image_url is None:
        return part.text
    if part.type == "image_url" and part.image_url is not None and part.text is None:
        return mixed.image_source(part.image_url.url)
    other = "image_url" if part.type == "text" else "text"
    raise BadRequest(f"{place}: a part of type {part.type} needs {part.type}, without {other}")


def _echo(texts: list[Text]) -> list[str]:
    return [each.text if isinstance(each, DetachedString) else each for each in texts]


def _encoded(vector: FloatArray, kind: EmbeddingType) -> object:
    numbers = quantised(vector, _KINDS[kind])
    return as_base64(numbers) if kind == "base64" else numbers
