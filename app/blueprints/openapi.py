# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""The OpenAPI 3.1 document, generated from the pydantic models of requests and answers."""

from __future__ import annotations

from collections.abc import Collection
from typing import get_args

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from app.blueprints import (
    answers,
    headers,
    job_answers,
    openapi_jobs,
    openapi_vectors,
    openapi_video,
    schemas,
    shapes,
)
from app.blueprints import openapi_parts as parts
from app.blueprints.examples import Models
from app.blueprints.openapi_parts import Json
from app.rendering import formats, preview, scenes
from app.rendering.options import DepthOptions, Unit
from app.rendering.preview import PreviewOptions
from app.rendering.scene_options import SceneOptions
from config.version import VERSION

_PHOTO = {"image": {"type": "string", "format": "binary", "description": "a photo"}}
_QUEUE = {name: {"schema": {"type": "string"}} for name in headers.QUEUE}
_PROVENANCE = {
    name: {"schema": {"type": "string"}} for name in (*headers.PROVENANCE, headers.MODEL_WEIGHTS)
}
_CAMERA = "where the model estimates it, and with unit=metres where it is known"
_SHIPPED = Models()
# Paths that never need the key.
_PUBLIC = ("/", "/health", "/ready")
_KEY = {
    "name": "key",
    "in": "path",
    "required": True,
    "description": "key of a model of the table, such as small or ViT-L-14",
    "schema": {"type": "string"},
}


def document(models: Models = _SHIPPED, open_tags: Collection[str] | None = ()) -> Json:
    """The whole document.

    Args:
        models: those that its examples name.
        open_tags: tags of routes that need no key; None: the service has none, so that the page
            shows no padlocks.
    """
    found = [
        shape
        for module in (answers, job_answers, schemas, shapes)
        for shape in vars(module).values()
        if isinstance(shape, type) and issubclass(shape, BaseModel) and shape is not BaseModel
    ]
    _, components = models_json_schema(
        [(shape, "validation") for shape in dict.fromkeys(found)],
        ref_template="#/components/schemas/{model}",
    )
    keys = {
        "key": {"type": "apiKey", "in": "header", "name": "X-Api-Key"},
        "bearer": {"type": "http", "scheme": "bearer"},
    }
    described = _paths(models)
    for path, operations in described.items():
        tag = parts.tag_of(path)
        for operation in operations.values():
            operation["tags"] = [tag]
            if open_tags is not None and (path in _PUBLIC or tag in open_tags):
                operation["security"] = []
    has_key = open_tags is not None
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Twinlens",
            "version": VERSION,
            "description": "Photos and films to depth maps and 3D, images and texts to vectors.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "tags": [{"name": name, "description": text} for name, text in parts.TAGS.items()],
        "paths": described,
        "components": {"schemas": components["$defs"]}
        | ({"securitySchemes": keys} if has_key else {}),
        **({"security": [{"key": []}, {"bearer": []}]} if has_key else {}),
    }


def _paths(models: Models) -> Json:
    key = _KEY | {"example": models.any}
    operation = (400, 401, 415, 422, 429, 500)
    return {
        "/": {"get": _index()},
        "/health": {
            "get": _get("Alive, and what it does", answers.Health)
            | {"responses": _probe(answers.Health, "Unwell")}
        },
        "/ready": {
            "get": _get("200 once the default model can work", answers.Ready)
            | {"responses": _probe(answers.Ready, "Not yet")}
        },
        "/metrics": {"get": _metrics()},
        "/models": {"get": _get("The embedding models", answers.EmbeddingModels, 401, 404)},
        "/api/depth": {"post": _depth()},
        "/api/splat": {"post": _splat()},
        "/api/splat/status": {
            "get": _get("The model that makes splats", answers.SplatStatus, 401, 404)
        },
        "/api/splat/download": {"post": _splat_download()},
        "/api/preview": {"post": _preview()},
        **openapi_video.paths(_PROVENANCE),
        **openapi_jobs.paths(),
        "/embed-image": {"post": _embed_image(models)},
        "/embed-batch": {"post": _embed_batch()},
        "/embed-text": {"post": _embed_text()},
        **openapi_vectors.paths(models, _QUEUE | _PROVENANCE),
        "/v1/embeddings": {"post": _openai_embeddings()},
        "/v1/models": {"get": _openai_models()},
        "/v1/models/{key}": {"get": _openai_model(models)},
        "/api/models": {
            "get": _get(
                "The depth models of ImmichVR; ?type=all: all models", answers.ManagedModels, 401
            )
            | {
                "parameters": [
                    {"name": "type", "in": "query", "schema": {"enum": ["all", "depth"]}}
                ]
            },
            "post": _add_model(),
        },
        "/api/models/current": {"get": _get("The current depth model", answers.CurrentModel, 401)},
        "/api/models/{key}": {
            "get": _operation(
                "One model, and its download's progress", answers.OneModel, 400, 401, key=key
            ),
            # This has no example key, so that "Try it out" on the page does not delete a model.
            "delete": _operation("Unload it and delete its files", answers.Done, 400, 401, 500),
        },
        "/api/models/{key}/load": {
            "post": _operation("Load a model, make it current", answers.Loaded, *operation, key=key)
            | {"requestBody": {"content": parts.request(schemas.LoadRequest), "required": False}}
        },
        "/api/models/{key}/unload": {
            "post": _operation("Give a model's memory back", answers.Done, 400, 401, key=key)
        },
        "/api/models/{key}/download": {
            "post": _operation("Bring a model to disk", answers.Done, 400, 401, 429, 500, key=key)
        },
        "/admin/cleanup": {"post": _get("Give cached memory back", answers.CleanUp, 401)},
    }


def _probe(answer: type[BaseModel], not_well: str) -> Json:
    return parts.errors() | {"200": parts.json(answer), "503": parts.json(answer, not_well)}


def _metrics() -> Json:
    text = {"schema": {"type": "string"}}
    content = {"text/plain": text, "application/openmetrics-text": text}
    return {
        "summary": "For Prometheus: what was counted, and the state of this moment",
        "responses": {
            "200": {"description": "Success", "content": content},
            **parts.errors(401, 503),
        },
    }


def _index() -> Json:
    described = _get("What the service is; for browsers the console, also at /ui", answers.Index)
    page = {"text/html": {"schema": {"type": "string"}}}
    described["responses"]["200"]["content"] |= page
    return described


def _depth() -> Json:
    own_map = {
        "depth": {
            "type": "string",
            "format": "binary",
            "description": "for a stereo pair: a depth map of your own in place of a model's, "
            "grey, 8 or 16 bits, near is bright, any size with the photo's aspect",
        }
    }
    text, number = {"schema": {"type": "string"}}, {"schema": {"type": "number"}}
    map_headers = {
        "Content-Disposition": text,
        headers.MODEL_USED: text,
        headers.DEPTH_UNIT: {"schema": {"enum": list(get_args(Unit))}},
        headers.DEPTH_MIN: number
        | {"description": "smallest number of the map: the farthest point, or the least metres"},
        headers.DEPTH_MAX: number
        | {"description": "largest number of the map: the nearest point, or the most metres"},
        headers.FOCAL_LENGTH: number
        | {"description": f"of the camera, pixels of the upright photo; {_CAMERA}"},
        headers.FIELD_OF_VIEW: number
        | {"description": f"of the camera, degrees from left to right; {_CAMERA}"},
    } | _PROVENANCE
    mimetypes = [kind.mimetype for kind in formats.KINDS.values()]
    return parts.of_file(
        "A photo to a depth map: 8-bit grey PNG of its upright size, near is bright",
        _PHOTO,
        DepthOptions,
        parts.files("The map, or pair", mimetypes) | {"headers": map_headers},
        own_map,
    )


def _splat() -> Json:
    text, number = {"schema": {"type": "string"}}, {"schema": {"type": "number"}}
    unit = {"schema": {"enum": list(get_args(Unit))}}
    scene_headers = {
        "Content-Disposition": text,
        headers.MODEL_USED: text,
        headers.FILE_SIZE: {"schema": {"type": "integer"}, "description": "of the file, bytes"},
        headers.DEPTH_UNIT: unit | {"description": "of the distances in the scene"},
        headers.FOCAL_LENGTH: number
        | {"description": "of the camera, pixels of the upright photo"},
        headers.FIELD_OF_VIEW: number
        | {"description": "of the camera, degrees from left to right"},
    } | _PROVENANCE
    mimetypes = [kind.mimetype for kind in scenes.KINDS.values()]
    return parts.of_file(
        "A photo to a 3D scene: a PLY of Gaussian splats, or another file of splats or a mesh",
        _PHOTO,
        SceneOptions,
        parts.files("The scene", mimetypes) | {"headers": scene_headers},
    )


def _preview() -> Json:
    return parts.of_file(
        "A photo of any known format to a small upright sRGB picture, for browsers; no model",
        _PHOTO,
        PreviewOptions,
        parts.files("The picture", list(preview.MIMETYPES.values())),
        uses_model=False,
    )


def _splat_download() -> Json:
    described = _get(
        "Bring the model that makes splats to disk", answers.SplatDownload, 401, 404, 429, 500
    )
    described["responses"]["500"] = parts.json(answers.SplatDownloadFailed, "The message says why")
    return described


def _embed_image(models: Models) -> Json:
    options = schemas.EmbedOptions.model_json_schema()["properties"]
    options["model"]["default"] = models.embedding
    options["image_size"]["default"] = models.image_size
    image = {"image": {"type": "string", "format": "binary", "description": "an image"}}
    return {
        "summary": "An image to a vector",
        "requestBody": {
            "required": True,
            "content": parts.request(schemas.EmbedRequest) | parts.form(image | options, ["image"]),
        },
        "responses": {
            "200": parts.json(answers.Embedding) | {"headers": _QUEUE | _PROVENANCE},
            **parts.errors(*parts.INFERENCE, 415, 422, 502),
        },
    }


def _embed_batch() -> Json:
    return {
        "summary": "Several images to vectors, in order; a bad one does not spoil the others",
        "requestBody": {"required": True, "content": parts.request(schemas.EmbedBatchRequest)},
        "responses": {
            "200": parts.json(answers.Batch) | {"headers": _QUEUE | _PROVENANCE},
            **parts.errors(*parts.INFERENCE, 415, 422),
        },
    }


def _embed_text() -> Json:
    shapes = (answers.TextEmbedding, answers.TextBatch)
    either = {"anyOf": [parts.reference(shape) for shape in shapes]}
    return {
        "summary": "A text, or several in order, to vectors in the space of the image vectors",
        "requestBody": {"required": True, "content": parts.request(schemas.EmbedTextRequest)},
        "responses": {
            "200": {
                "description": "Success",
                "content": {"application/json": {"schema": either}},
                "headers": _QUEUE | _PROVENANCE,
            },
            **parts.errors(*parts.INFERENCE, 415, 422),
        },
    }


def _openai_embeddings() -> Json:
    return {
        "summary": "Texts and images to vectors, in the shape of OpenAI's API",
        "requestBody": {"required": True, "content": parts.request(schemas.OpenAIRequest)},
        "responses": {
            "200": parts.json(answers.OpenAIEmbeddings) | {"headers": _QUEUE | _PROVENANCE},
            **parts.openai_errors(*parts.INFERENCE, 415, 502),
        },
    }


def _openai_models() -> Json:
    return {
        "summary": "The embedding models, in the shape of OpenAI's API",
        "responses": {
            "200": parts.json(answers.OpenAIModels),
            **parts.openai_errors(401, 404, 503),
        },
    }


def _openai_model(models: Models) -> Json:
    return {
        "summary": "One embedding model, in the shape of OpenAI's API",
        "parameters": [_KEY | {"example": models.embedding}],
        "responses": {"200": parts.json(answers.OpenAIModel), **parts.openai_errors(401, 404, 503)},
    }


def _add_model() -> Json:
    described = _get(
        "Add a model of the hub to the table; it then appears in the list in some seconds",
        answers.Added,
        *(400, 401, 413, 415, 422, 429),
    )
    described["responses"]["202"] = described["responses"].pop("200")
    refused = "The hub cannot be asked or the table not be written; the message says what to do"
    described["responses"]["503"] = parts.json(answers.Error, refused)
    body = {"content": parts.request(schemas.AddRequest), "required": True}
    return described | {"requestBody": body}


def _get(summary: str, answer: type[BaseModel], *statuses: int) -> Json:
    # Every route answers 503 while the service shuts down.
    errors = parts.errors(*statuses, 503)
    return {"summary": summary, "responses": {"200": parts.json(answer), **errors}}


def _operation(summary: str, answer: type[BaseModel], *statuses: int, key: Json = _KEY) -> Json:
    described = _get(summary, answer, *statuses) | {"parameters": [key]}
    if 500 in statuses:
        failed = "The operation failed; the message says why"
        described["responses"]["500"] = parts.json(answers.OperationError, failed)
    return described
