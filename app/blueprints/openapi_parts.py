# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Parts of the OpenAPI document: errors, JSON bodies and forms."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel

from app.blueprints import answers, examples
from config.families import Task

Json = dict[str, Any]

#: statuses of errors that every inference may answer with
INFERENCE = (400, 401, 404, 408, 413, 429, 500, 503, 504)

#: groups of routes, by what a person wants, and what stands over each
TAGS = {
    "Depth": "Photos to depth maps and stereo pairs",
    "Splats": "Photos to 3D scenes",
    "Films": "Films to depth maps and 3D films, at once or as jobs",
    "Vectors": "Images and texts to vectors",
    "OpenAI": "The same in the shape of OpenAI's API, and of Jina's",
    "Cohere": "The same in the shape of Cohere's API",
    "Immich": "Smart search for Immich",
    "Models": "What is on disk and in memory",
    "Service": "What it is, and how it is",
}
#: the groups of each task
TAGS_OF: dict[Task, tuple[str, ...]] = {
    "depth": ("Depth", "Splats", "Films"),
    "embedding": ("Vectors", "OpenAI", "Cohere", "Immich"),
}
# The beginnings of the paths of each group; the first that fits counts.
_TAG_OF = {
    "/api/depth": "Depth",
    "/api/splat": "Splats",
    "/api/video": "Films",
    "/api/jobs": "Films",
    "/api/models": "Models",
    "/models": "Vectors",
    "/embed": "Vectors",
    "/similarity": "Vectors",
    "/classify": "Vectors",
    "/v1/": "OpenAI",
    "/v2/": "Cohere",
    "/ping": "Immich",
    "/predict": "Immich",
    "/": "Service",
}

_MEANING = {
    400: "No image, film or text, not an image, an unknown model or option, or bad base64",
    401: "The key is missing or wrong",
    404: "The family of this route is turned off (ENABLED_FAMILIES)",
    408: "The body was not complete in time",
    409: "The job is not in a state for this; the message says in which it is",
    413: "A budget is exceeded; the message names it and the actual value",
    414: "The address is too long",
    415: "Wrong content type",
    416: "The file is shorter than the part that is asked for",
    422: "JSON of the wrong shape; the message names the field and what was expected",
    431: "The headers are too long, or too many",
    429: "The waiting room is full; see Retry-After",
    500: "A defect; the log has details under X-Request-ID",
    501: "Nothing is set up to pass this on to (IMMICH_ML_URL)",
    502: "The host of a remote image, or the server that it was passed on to, failed",
    503: "The model is not available, or the service is ending; see Retry-After",
    504: "The wait or a deadline ran out",
}
# Requests may be refused with these statuses before routing, so every route lists them.
_BEFORE_ROUTING = (414, 431)


def tag_of(path: str) -> str:
    """The group that a path belongs to."""
    return next(tag for beginning, tag in _TAG_OF.items() if path.startswith(beginning))


def errors(*statuses: int) -> Json:
    """Answers of a route with these statuses, and with those that any request may get."""
    described = sorted({*statuses, *_BEFORE_ROUTING})
    bodies: dict[int, type[BaseModel]] = {503: answers.NotAvailable}
    return {
        str(status): json(bodies.get(status, answers.Error), _MEANING[status])
        for status in described
    }


def openai_errors(*statuses: int) -> Json:
    """The same for routes of OpenAI's API, with the error's shape of that API."""
    meaning = _MEANING | {404: "There is no such model, or ENABLED_FAMILIES turns the route off"}
    return errors() | {
        str(status): json(answers.OpenAIError, meaning[status]) for status in sorted(statuses)
    }


def json(answer: type[BaseModel], description: str = "Success") -> Json:
    """An answer with a JSON body of this shape."""
    return {"description": description, "content": body(answer)}


def body(shape: type[BaseModel]) -> Json:
    """A JSON body of this shape."""
    return {"application/json": {"schema": reference(shape)}}


def request(shape: type[BaseModel]) -> Json:
    """The JSON body of a request, with its example."""
    return {
        "application/json": {"schema": reference(shape), "example": examples.BODIES[shape]},
    }


def reference(shape: type[BaseModel]) -> Json:
    """A reference to a shape among the components of the document."""
    return {"$ref": f"#/components/schemas/{shape.__name__}"}


def files(description: str, mimetypes: Iterable[str]) -> Json:
    """An answer that is a file of one of these kinds."""
    file = {"schema": {"type": "string", "format": "binary"}}
    return {"description": description, "content": dict.fromkeys(mimetypes, file)}


def of_file(
    summary: str,
    upload: Json,
    options: type[BaseModel],
    success: Json,
    other_files: Json = {},  # noqa: B006 - it is only read
    *,
    uses_model: bool = True,
) -> Json:
    """An operation that takes a file and options.

    Args:
        summary: of the operation.
        upload: the field of the file.
        options: the other fields.
        success: the answer with status 200.
        other_files: further files, which need not be sent.
        uses_model: whether the option ``model`` chooses a depth model.
    """
    model = {
        "name": "model",
        "in": "query",
        "description": "key of a depth model; default: the current one",
        "schema": {"type": "string"},
    }
    fields = upload | other_files | options.model_json_schema()["properties"]
    return {
        "summary": summary,
        "description": "The options of the form are accepted in the query, too; where both have "
        "one, the form's value counts.",
        **({"parameters": [model]} if uses_model else {}),
        "requestBody": {"required": True, "content": form(fields, list(upload))},
        "responses": {"200": success, **errors(*INFERENCE)},
    }


def form(properties: Json, required: list[str]) -> Json:
    """A multipart form with these fields."""
    fields = {name: _form_field(schema) for name, schema in properties.items()}
    schema = {"type": "object", "properties": fields, "required": required}
    return {"multipart/form-data": {"schema": schema}}


def _form_field(schema: Json) -> Json:
    """The schema of a form field, made from that of a JSON key.

    It does not allow null, because a form can only leave a field out.
    """
    field = {name: value for name, value in schema.items() if name not in ("anyOf", "default")}
    if schema.get("default") is not None:
        field["default"] = schema["default"]
    choices = [each for each in schema.get("anyOf", ()) if each != {"type": "null"}]
    if len(choices) == 1:
        field |= choices[0]
        if "enum" in field:
            # A page that shows the choices would else send the first one. Empty means not given.
            field |= {"enum": ["", *field["enum"]], "default": ""}
        return field
    return field | {"anyOf": choices} if choices else field
