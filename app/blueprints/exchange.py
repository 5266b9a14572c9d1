# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Helpers of all routes: they give access to the runtime, read bodies and answer errors."""

from __future__ import annotations

import fcntl
import logging
import re
import select
import socket
import struct
import termios
from collections.abc import Callable
from typing import BinaryIO, Protocol, TypeVar, cast

import flask
from flask import Flask, Response, current_app, g, jsonify, request
from pydantic import BaseModel, ValidationError
from werkzeug.exceptions import HTTPException, MethodNotAllowed, RequestEntityTooLarge

from app.errors import (
    BadRequest,
    ClientGone,
    NoResources,
    ProcessingFailed,
    TooLarge,
    TwinlensError,
    WrongShape,
    code_of_status,
)
from app.models.base import Provenance
from app.runtime import Runtime
from app.server.bodies import BODY
from app.server.forms import FormParser
from app.server.json_body import read_json
from app.tasks.results import Timings
from config.models import ModelSpec

log = logging.getLogger("twinlens.http")

#: what stands for the key of a model, in headers, log and metrics, if none was used
NO_MODEL = "none"

_MOST_FINDINGS = 10
# The position with which pydantic ends a message. It is removed where ``read_json`` has replaced
# long strings by placeholders, because it is wrong there.
_POSITION = re.compile(r" at line \d+ column \d+$")
_MAX_UNREAD_BYTES = 2**16
# Linux also reports a client that has closed only its sending side (POLLRDHUP).
_HANG_UP = getattr(select, "POLLRDHUP", select.POLLHUP)

# All errors below this path have the shape of OpenAI's API, including Flask's own errors.
_OPENAI_PATHS = "/v1/"

# OpenAI's own codes, which its clients know; other errors have the code of ``app.errors`` there.
_OPENAI_CODES = {
    401: "invalid_api_key",
    429: "rate_limit_exceeded",
    503: "service_unavailable",
    504: "timeout",
}

Body = TypeVar("Body", bound=BaseModel)


class Request(flask.Request):
    """Flask's request with our own parser of multipart forms."""

    form_data_parser_class = FormParser


def runtime() -> Runtime:
    """The runtime of this app."""
    return cast(Runtime, current_app.extensions["twinlens"])


class TaskResult(Protocol):
    """What the results of all tasks have in common."""

    @property
    def provenance(self) -> Provenance | None: ...

    @property
    def timings(self) -> Timings: ...


def record_result(spec: ModelSpec | None, result: TaskResult) -> None:
    """Keep a result for ``hooks``, which writes its model and timings to headers and log.

    Called once for each network that the request used, and with None if it used no model.
    """
    g.model = spec.key if spec else NO_MODEL
    g.results = [*g.get("results", ()), result]


def disconnect_check() -> Callable[[], bool]:
    """A function that tells whether the client of this request has disconnected.

    Other threads may call the function. A client that closed only its sending side counts as
    disconnected, as in nginx, because the server cannot tell the two cases apart before it sends
    something. A client that has sent more than 64 KiB beyond its request also counts as
    disconnected, because unread data would hide the end of its connection.
    """
    connection: socket.socket | None = request.environ.get("gunicorn.socket")

    def is_gone() -> bool:
        if connection is None:
            return False
        try:
            poll = select.poll()
            # poll() reports a closed connection even while unread bytes are left; recv() would not.
            poll.register(connection, _HANG_UP)
            if poll.poll(0):
                return True
            unread = fcntl.ioctl(connection, termios.FIONREAD, bytes(4))
        except (OSError, ValueError):  # the server has closed the connection already
            return True
        return bool(struct.unpack("i", unread)[0] > _MAX_UNREAD_BYTES)

    return is_gone


def cancellation_check() -> Callable[[], None]:
    """A function to call during long waits; raises if the client is gone or the service closes."""
    is_gone, service = disconnect_check(), runtime()

    def check_cancelled() -> None:
        if service.is_closing():
            raise service.refusal()
        if is_gone():
            raise ClientGone

    return check_cancelled


def options_given() -> dict[str, str]:
    """The options of the query and of the form; of one that both have, the form's value.

    Empty ones are left out: a form that a page makes has a field for each option.
    """
    given = (*request.args.items(), *request.form.items())
    return {name: value for name, value in given if value}


def uploaded_image() -> tuple[BinaryIO, str]:
    """The multipart file ``image``, which is on disk if it is large, and its file name.

    Raises:
        BadRequest: the request has no such file.
    """
    if upload := _upload("image"):
        return upload
    raise BadRequest("Please upload an image file with key 'image'", title="No image provided")


def uploaded_film() -> tuple[BinaryIO, str]:
    """The multipart file ``video``, which is on disk if it is large, and its file name.

    Raises:
        BadRequest: the request has no such file.
    """
    if upload := _upload("video"):
        return upload
    raise BadRequest("Please upload a video file with key 'video'", title="No video provided")


def _upload(field: str) -> tuple[BinaryIO, str] | None:
    upload = request.files.get(field)
    if upload is None or not upload.filename:
        return None
    return cast(BinaryIO, upload.stream), upload.filename


def parse_json(shape: type[Body], *, or_empty: bool = False, most_bytes: int | None = None) -> Body:
    """Parse the JSON body.

    Args:
        shape: the pydantic model of the body.
        or_empty: whether an empty body counts as an empty object.
        most_bytes: for routes whose bodies are small, the largest Content-Length.

    Raises:
        WrongShape: the message names each wrong field and what was expected.
        TooLarge: the JSON is too large even without the images in it.
    """
    if most_bytes is not None and (request.content_length or 0) > most_bytes:
        raise TooLarge(
            f"The body has {request.content_length} bytes; at most {most_bytes} are accepted here",
            code="body_too_large",
        )
    body = read_json(request.stream.read, runtime().settings.max_image_bytes)
    try:
        text = b"{}" if or_empty and not body.text else body.text
        return shape.model_validate_json(text, context=body.strings)
    except ValidationError as error:
        raise wrong_shape(error, positions=body.is_unchanged) from None


def wrong_shape(error: ValidationError, *, positions: bool = True) -> WrongShape | TooLarge:
    """An error whose message lists pydantic's findings, without the client's input.

    ``positions`` says whether the message may contain line and column numbers.
    """
    details = error.errors(include_input=False, include_url=False)
    text = "; ".join(
        f"{'.'.join(str(part) for part in detail['loc']) or 'body'}: "
        + (detail["msg"] if positions else _POSITION.sub("", detail["msg"])).removeprefix(
            "Value error, "
        )
        for detail in details[:_MOST_FINDINGS]
    )
    too_many = any(detail["type"] == "too_long" for detail in details)
    return TooLarge(text, code="batch_too_large") if too_many else WrongShape(text)


def install(app: Flask) -> None:
    """Register the error handlers."""
    app.register_error_handler(TwinlensError, _twinlens_error)
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(Exception, _unexpected_error)


def _openai_body(error: TwinlensError) -> dict[str, object]:
    """The error's JSON body in the shape of OpenAI's API, and beside it the code of ours."""
    kind = "rate_limit_error" if error.status == 429 else "invalid_request_error"
    described = {
        "message": error.message,
        "type": "server_error" if error.status >= 500 else kind,
        "param": error.param,
        "code": error.openai_code or _OPENAI_CODES.get(error.status, error.code),
    }
    if error.reason is not None:
        described["reason"] = error.reason
    return {"error": described, "code": error.code}


def _twinlens_error(error: TwinlensError) -> Response:
    in_openai_shape = request.path.startswith(_OPENAI_PATHS)
    response = jsonify(_openai_body(error) if in_openai_shape else error.body())
    response.status_code = error.status
    if error.retry_after is not None:
        response.headers["Retry-After"] = str(error.retry_after)
    return response


def _http_error(error: HTTPException) -> Response:
    """Answer an error of Flask or Werkzeug with our own error body."""
    if isinstance(error, RequestEntityTooLarge):
        limits = request.environ[BODY].limits
        length = request.content_length
        actual = f"{length} bytes" if length else "more than that"
        return _twinlens_error(
            TooLarge(
                f"The body has {actual}; at most {limits.most} are accepted ({limits.setting})",
                code="body_too_large",
            )
        )
    status = error.code or 500
    message = error.description or error.name
    if isinstance(error, MethodNotAllowed):
        methods = ", ".join(sorted({*(error.valid_methods or ())} - {"HEAD", "OPTIONS"}))
        message = f"This address takes {methods}, not {request.method}"
    elif error is request.routing_exception:
        message = "There is nothing at this address; /docs lists all that there is"
    ours = TwinlensError(message, title=error.name, code=code_of_status(status))
    ours.status = status
    response = _twinlens_error(ours)
    for name, value in error.get_headers():
        if name == "Allow":
            response.headers[name] = value
    return response


def _unexpected_error(error: Exception) -> Response:
    """Answer 500, or 503 if memory or another resource ran out."""
    if lacking := NoResources.from_error(error):
        log.error("%s", lacking.message, exc_info=error)
        return _twinlens_error(lacking)
    log.error("the request failed", exc_info=error)
    return _twinlens_error(ProcessingFailed())
