# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Parts of the OpenAPI document: errors, JSON bodies and forms."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from app.blueprints import answers, examples

Json = dict[str, Any]

_MEANING = {
    400: "No image or text, not an image, an unknown model or option, or bad base64",
    401: "The key is missing or wrong",
    404: "The family of this route is turned off (ENABLED_FAMILIES)",
    408: "The body was not complete in time",
    413: "A budget is exceeded; the message names it and the actual value",
    414: "The address is too long",
    415: "Wrong content type",
    422: "JSON of the wrong shape; the message names the field and what was expected",
    431: "The headers are too long, or too many",
    429: "The waiting room is full; see Retry-After",
    500: "A defect; the log has details under X-Request-ID",
    502: "The host of a remote image failed",
    503: "The model is not available, or the service is ending; see Retry-After",
    504: "The wait or a deadline ran out",
}
# Requests may be refused with these statuses before routing, so every route lists them.
_BEFORE_ROUTING = (414, 431)


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
        return field
    return field | {"anyOf": choices} if choices else field
