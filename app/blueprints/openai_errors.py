# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Errors as OpenAI's clients read them, on the routes that are made for those."""

from __future__ import annotations

from app.errors import BadRequest, NotFound, TwinlensError

#: Where errors have this shape, also those of the framework.
PATHS = "/v1/"

_CODES = {
    401: "invalid_api_key",
    429: "rate_limit_exceeded",
    503: "service_unavailable",
    504: "timeout",
}


class InvalidRequest(BadRequest):
    """400 that names the part of the body which is wrong."""

    def __init__(self, message: str, param: str) -> None:
        super().__init__(message)
        self.param = param


class ModelNotFound(NotFound):
    """404: OpenAI's status for a model that does not exist."""

    param = "model"
    code = "model_not_found"


def body(error: TwinlensError) -> dict[str, dict[str, str | None]]:
    """The JSON body."""
    kind = "rate_limit_error" if error.status == 429 else "invalid_request_error"
    return {
        "error": {
            "message": error.message,
            "type": "server_error" if error.status >= 500 else kind,
            "param": error.param,
            "code": getattr(error, "code", _CODES.get(error.status)),
        }
    }
