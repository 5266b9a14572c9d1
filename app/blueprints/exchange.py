# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""What all routes share: the runtime, one error body, the request id."""

from __future__ import annotations

import logging
import re
import uuid
from typing import cast

from flask import Flask, Response, current_app, g, jsonify, request
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge

from app.errors import BadRequest, NotFound, ProcessingFailed, TooLarge, TwinlensError
from app.runtime import Runtime
from config.models import FAMILIES

log = logging.getLogger("twinlens.http")

_SANE_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")


def runtime() -> Runtime:
    """The runtime of this app."""
    return cast(Runtime, current_app.extensions["twinlens"])


def uploaded_image() -> tuple[bytes, str]:
    """The multipart file ``image`` and its name.

    Raises:
        BadRequest: there is none, whatever else was sent.
    """
    upload = request.files.get("image")
    if upload is None or not upload.filename:
        raise BadRequest("Please upload an image file with key 'image'", title="No image provided")
    with upload.stream as stream:
        return stream.read(), upload.filename


def install(app: Flask) -> None:
    """Register the error handlers and the request id."""
    app.before_request(_take_request_id)
    app.before_request(_refuse_a_family_that_is_off)
    app.after_request(_give_request_id)
    app.register_error_handler(TwinlensError, _twinlens_error)
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(Exception, _defect)


def _take_request_id() -> None:
    given = request.headers.get("X-Request-ID", "")
    g.request_id = given if _SANE_REQUEST_ID.fullmatch(given) else uuid.uuid4().hex


def _refuse_a_family_that_is_off() -> None:
    # The blueprints of the families bear their names.
    if request.blueprint in FAMILIES:
        enabled = runtime().settings.enabled_families
        if request.blueprint not in enabled:
            raise NotFound(
                f"The {request.blueprint} family is turned off here: "
                f"ENABLED_FAMILIES={','.join(enabled)}"
            )


def _give_request_id(response: Response) -> Response:
    response.headers["X-Request-ID"] = g.request_id
    return response


def _twinlens_error(error: TwinlensError) -> Response:
    response = jsonify(error.body())
    response.status_code = error.status
    if error.retry_after is not None:
        response.headers["Retry-After"] = str(error.retry_after)
    return response


def _http_error(error: HTTPException) -> Response:
    """Flask's and Werkzeug's own errors, in our body."""
    if isinstance(error, RequestEntityTooLarge):
        limit = current_app.config["MAX_CONTENT_LENGTH"]
        return _twinlens_error(
            TooLarge(
                f"The request has {request.content_length} bytes; "
                f"at most {limit} are accepted (MAX_UPLOAD_BYTES)"
            )
        )
    ours = TwinlensError(error.description or error.name, title=error.name)
    response = _twinlens_error(ours)
    response.status_code = error.code or 500
    for name, value in error.get_headers():
        if name == "Allow":
            response.headers[name] = value
    return response


def _defect(error: Exception) -> Response:
    log.error("request %s failed", g.get("request_id"), exc_info=error)
    return _twinlens_error(ProcessingFailed())
