# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""The part of the OpenAPI document about jobs."""

from __future__ import annotations

from app.blueprints import answers, headers, job_answers, video
from app.blueprints import openapi_parts as parts
from app.blueprints.openapi_parts import Json

_ID = {
    "name": "id",
    "in": "path",
    "required": True,
    "description": "of a job",
    "schema": {"type": "string"},
}
_JOB = {
    "type": "boolean",
    "default": False,
    "description": "true: the film is kept and worked on later, and the answer, 202, is a job",
}
_UNKNOWN = "There is no such job, or ENABLED_FAMILIES turns the route off"
_TEXT = {"schema": {"type": "string"}}
_RESULT_HEADERS = {
    "Content-Disposition": _TEXT,
    headers.MODEL_USED: _TEXT,
    headers.MODEL_WEIGHTS: _TEXT,
}


def paths() -> Json:
    """The routes for jobs."""
    kinds = list(video.MIMETYPES.values())
    file = parts.files("What was made, or what is being made", kinds)
    part = parts.files("A part of it, as the header Range asks for", kinds)
    removed = parts.json(answers.Done, "It is removed; one that runs ends within a second")
    return {
        "/api/jobs/{id}": {
            "get": _of_job("How far a job is", {"200": parts.json(job_answers.Job)}),
            "delete": _of_job("Cancel a job, and remove its files", {"200": removed}),
        },
        "/api/jobs/{id}/result": {
            "get": _of_job(
                "The result of a job, also while it is made",
                {
                    "200": file | {"headers": _RESULT_HEADERS},
                    "206": part | {"headers": _RESULT_HEADERS},
                    "304": {"description": "The client has it already"},
                },
                *(409, 416, 429),
            )
        },
    }


def _of_job(summary: str, success: Json, *statuses: int) -> Json:
    responses = success | parts.errors(401, 404, 503, *statuses)
    responses["404"] = parts.json(answers.Error, _UNKNOWN)
    return {"summary": summary, "parameters": [_ID], "responses": responses}


def or_job(operation: Json) -> Json:
    """An operation that answers with a job instead if the client asks for that."""
    accepted = parts.json(job_answers.Job, "The job, which waits for its turn")
    location = _TEXT | {"description": "where to ask how far the job is"}
    operation["parameters"].append({"name": "job", "in": "query"} | _query(_JOB))
    operation["responses"]["202"] = accepted | {"headers": {"Location": location}}
    return operation


def _query(schema: Json) -> Json:
    return {"description": schema["description"], "schema": {"type": schema["type"]}}
