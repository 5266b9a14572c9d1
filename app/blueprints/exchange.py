# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""What all routes share: the runtime, reading bodies, one error body."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable
from typing import BinaryIO, Protocol, TypeVar, cast

from flask import Flask, Response, current_app, g, jsonify, request
from pydantic import BaseModel, ValidationError
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge

from app.blueprints import openai_errors
from app.errors import BadRequest, ClientGone, ProcessingFailed, TooLarge, TwinlensError, WrongShape
from app.models.base import Provenance
from app.results import Timings
from app.runtime import Runtime
from config.models import ModelSpec

log = logging.getLogger("twinlens.http")

_MOST_FINDINGS = 10

Body = TypeVar("Body", bound=BaseModel)


def runtime() -> Runtime:
    """The runtime of this app."""
    return cast(Runtime, current_app.extensions["twinlens"])


class Result(Protocol):
    """What the pipeline gives."""

    @property
    def provenance(self) -> Provenance: ...

    @property
    def timings(self) -> Timings: ...


def note(spec: ModelSpec, result: Result) -> None:
    """Tell headers and log of the answer which model worked for it, how, and for how long.

    Called once for each of the model's networks that worked.
    """
    g.model = spec.key
    g.results = [*g.get("results", ()), result]


def client_is_gone() -> Callable[[], bool]:
    """A question for other threads: whether the client of this request has hung up.

    One that only closed its sending side counts as gone, too, as with nginx: nothing tells the two
    apart before something is sent.
    """
    connection: socket.socket | None = request.environ.get("gunicorn.socket")

    def is_gone() -> bool:
        if connection is None:
            return False
        try:
            return connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
        except (BlockingIOError, ValueError):  # nothing to read; TLS sockets know no flags
            return False
        except OSError:
            return True

    return is_gone


def still_wanted() -> Callable[[], None]:
    """For long waits: raises where the client has hung up or the service ends."""
    is_gone, service = client_is_gone(), runtime()

    def look() -> None:
        if service.is_closing():
            raise service.refusal()
        if is_gone():
            raise ClientGone

    return look


def uploaded_image() -> tuple[BinaryIO, str]:
    """The multipart file ``image``, on disk if it is large, and its name.

    Raises:
        BadRequest: there is none, whatever else was sent.
    """
    upload = request.files.get("image")
    if upload is None or not upload.filename:
        raise BadRequest("Please upload an image file with key 'image'", title="No image provided")
    return cast(BinaryIO, upload.stream), upload.filename


def parse_json(shape: type[Body]) -> Body:
    """The JSON body. Raises WrongShape naming each field and what was expected."""
    try:
        # Not cached: the text of a large image need not lie in memory while the request waits.
        return shape.model_validate_json(request.get_data(cache=False))
    except ValidationError as error:
        raise wrong_shape(error) from None


def wrong_shape(error: ValidationError) -> WrongShape | TooLarge:
    """Pydantic's findings in a sentence, without the input itself."""
    details = error.errors(include_input=False, include_url=False)
    text = "; ".join(
        f"{'.'.join(str(part) for part in detail['loc']) or 'body'}: "
        + detail["msg"].removeprefix("Value error, ")
        for detail in details[:_MOST_FINDINGS]
    )
    too_many = any(detail["type"] == "too_long" for detail in details)
    return TooLarge(text) if too_many else WrongShape(text)


def install(app: Flask) -> None:
    """Register the error handlers."""
    app.register_error_handler(TwinlensError, _twinlens_error)
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(Exception, _defect)


def _twinlens_error(error: TwinlensError) -> Response:
    in_openai_shape = request.path.startswith(openai_errors.PATHS)
    response = jsonify(openai_errors.body(error) if in_openai_shape else error.body())
    response.status_code = error.status
    if error.retry_after is not None:
        response.headers["Retry-After"] = str(error.retry_after)
    return response


def _http_error(error: HTTPException) -> Response:
    """Flask's and Werkzeug's own errors, in our body."""
    if isinstance(error, RequestEntityTooLarge):
        limit = runtime().settings.max_upload_bytes
        length = request.content_length
        if length is not None and length <= limit:
            parts = current_app.config["MAX_FORM_PARTS"]
            return _twinlens_error(TooLarge(f"The form has more than {parts} parts"))
        actual = f"{length} bytes" if length else "more than that"
        return _twinlens_error(
            TooLarge(f"The body has {actual}; at most {limit} are accepted (MAX_UPLOAD_BYTES)")
        )
    ours = TwinlensError(error.description or error.name, title=error.name)
    ours.status = error.code or 500
    response = _twinlens_error(ours)
    for name, value in error.get_headers():
        if name == "Allow":
            response.headers[name] = value
    return response


def _defect(error: Exception) -> Response:
    log.error("the request failed", exc_info=error)
    return _twinlens_error(ProcessingFailed())
