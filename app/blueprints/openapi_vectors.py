# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""The part of the OpenAPI document about /similarity, /classify and the APIs of other programs."""

from __future__ import annotations

import json

from app.blueprints import openapi_parts as parts
from app.blueprints import shapes
from app.blueprints.examples import Models
from app.blueprints.openapi_parts import Json

_FILE = {"type": "string", "format": "binary"}


def paths(models: Models, headers: Json) -> Json:
    """These routes; ``headers`` are those of their answers."""
    return {
        "/similarity": {"post": _similarity(headers)},
        "/classify": {"post": _classify(models, headers)},
        "/v2/embed": {"post": _cohere(headers)},
        "/ping": {"get": _ping()},
        "/predict": {"post": _predict(models, headers)},
    }


def _similarity(headers: Json) -> Json:
    return {
        "summary": "Cosines of texts and images with each other",
        "description": "One row for each input, with its cosine with each of the others. A bad "
        "item fails the request, and the message names it.",
        "requestBody": {"required": True, "content": parts.request(shapes.SimilarityRequest)},
        "responses": {
            "200": parts.json(shapes.Similarities) | {"headers": headers},
            **parts.errors(*parts.INFERENCE, 415, 422, 502),
        },
    }


def _classify(models: Models, headers: Json) -> Json:
    options = shapes.ClassifyRequest.model_json_schema()["properties"]
    fields: Json = {"image": _FILE | {"description": "an image"}}
    texts = {"type": "array", "items": {"type": "string"}}
    for name in ("labels", "templates"):
        fields[name] = texts | {"description": options[name]["description"]}
    fields["labels"] |= {"minItems": 1, "default": ["a dog", "a cat", "a mountain lake"]}
    fields["templates"] |= {"default": ["a photo of a {}"]}
    fields["model"] = {"type": "string", "default": models.embedding}
    return {
        "summary": "The probability of each label for an image",
        "description": "Computed as the checkpoint was trained: CLIP's probabilities of all labels "
        "add up to 1 (softmax); with SigLIP each label has its own (sigmoid).",
        "requestBody": {
            "required": True,
            "content": parts.request(shapes.ClassifyRequest)
            | parts.form(fields, ["image", "labels"]),
        },
        "responses": {
            "200": parts.json(shapes.Classification) | {"headers": headers},
            **parts.errors(*parts.INFERENCE, 415, 422, 502),
        },
    }


def _cohere(headers: Json) -> Json:
    return {
        "summary": "Texts and images to vectors, in the shape of Cohere's API, version 2",
        "requestBody": {"required": True, "content": parts.request(shapes.CohereRequest)},
        "responses": {
            "200": parts.json(shapes.CohereEmbeddings) | {"headers": headers},
            **parts.errors(*parts.INFERENCE, 415, 422, 502),
        },
    }


def _ping() -> Json:
    text = {"text/plain": {"schema": {"const": "pong", "type": "string"}}}
    return {
        "summary": "For Immich: this service is there",
        "responses": {
            "200": {"description": "Success", "content": text},
            **parts.errors(401, 404, 503),
        },
    }


def _predict(models: Models, headers: Json) -> Json:
    entries = {"clip": {"visual": {"modelName": models.embedding}}}
    fields: Json = {
        "entries": {
            "type": "string",
            "description": "JSON: what to do, by task and type",
            "default": json.dumps(entries),
        },
        "image": _FILE | {"description": "an image; or else `text`"},
        "text": {"type": "string"},
    }
    answer = {
        "type": "object",
        "properties": {
            "clip": {"type": "string", "description": "the vector, as the text of a JSON list"},
            "imageHeight": {"type": "integer"},
            "imageWidth": {"type": "integer"},
        },
    }
    return {
        "summary": "For Immich: smart search; faces and texts in pictures are passed on",
        "description": "See docs/recipes/immich.md. What is passed on to `IMMICH_ML_URL` is "
        "answered as that server answers it.",
        "requestBody": {"required": True, "content": parts.form(fields, ["entries"])},
        "responses": {
            "200": {
                "description": "Success",
                "content": {"application/json": {"schema": answer}},
                "headers": headers,
            },
            **parts.errors(*parts.INFERENCE, 422, 501, 502),
        },
    }
