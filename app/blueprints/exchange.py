# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""What all routes share: the runtime, reading bodies, one error body."""

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
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge

from app.blueprints import openai_errors
from app.errors import (
    BadRequest,
    ClientGone,
    NoResources,
    ProcessingFailed,
    TooLarge,
    TwinlensError,
    WrongShape,
)
from app.models.base import Provenance
from app.runtime import Runtime
from app.server.forms import FormParser
from app.server.json_body import read_json
from app.tasks.results import Timings
from config.models import ModelSpec

log = logging.getLogger("twinlens.http")

_MOST_FINDINGS = 10
# Where the parser found an error; of no use where strings were taken out before.
_POSITION = re.compile(r" at line \d+ column \d+$")
_MAX_UNREAD_BYTES = 2**16
# Linux also tells of a client that has closed only its sending side.
_HANG_UP = getattr(select, "POLLRDHUP", select.POLLHUP)

Body = TypeVar("Body", bound=BaseModel)


class Request(flask.Request):
    """Flask's, with our own reader of forms."""

    form_data_parser_class = FormParser


def runtime() -> Runtime:
    """The runtime of this app."""
    return cast(Runtime, current_app.extensions["twinlens"])


class Result(Protocol):
    """What the tasks give."""

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
    apart before something is sent. So does one that goes on sending much before it has its answer:
    what is not read hides the end of its connection.
    """
    connection: socket.socket | None = request.environ.get("gunicorn.socket")

    def is_gone() -> bool:
        if connection is None:
            return False
        try:
            poll = select.poll()
            # Unlike a look at the next byte, this sees the end behind bytes that nobody reads.
            poll.register(connection, _HANG_UP)
            if poll.poll(0):
                return True
            unread = fcntl.ioctl(connection, termios.FIONREAD, bytes(4))
        except (OSError, ValueError):  # closed on our side
            return True
        return bool(struct.unpack("i", unread)[0] > _MAX_UNREAD_BYTES)

    return is_gone


def still_wanted() -> Callable[[], None]:
    """For long waits: raises where the client has hung up or the service ends."""
    is_gone, service = client_is_gone(), runtime()

    def check_cancelled() -> None:
        if service.is_closing():
            raise service.refusal()
        if is_gone():
            raise ClientGone

    return check_cancelled


def uploaded_image() -> tuple[BinaryIO, str]:
    """The multipart file ``image``, on disk if it is large, and its name.

    Raises:
        BadRequest: there is none, whatever else was sent.
    """
    upload = request.files.get("image")
    if upload is None or not upload.filename:
        raise BadRequest("Please upload an image file with key 'image'", title="No image provided")
    return cast(BinaryIO, upload.stream), upload.filename


def parse_json(shape: type[Body], *, or_empty: bool = False) -> Body:
    """The JSON body; where it may be left out, an empty one stands for an empty object.

    Raises:
        WrongShape: it names each field and what was expected.
        TooLarge: the JSON is large beside the images in it.
    """
    body = read_json(request.stream.read, runtime().settings.max_image_bytes)
    try:
        text = b"{}" if or_empty and not body.text else body.text
        return shape.model_validate_json(text, context=body.strings)
    except ValidationError as error:
        raise wrong_shape(error, positions=body.is_unchanged) from None


def wrong_shape(error: ValidationError, *, positions: bool = True) -> WrongShape | TooLarge:
    """Pydantic's findings in a sentence, without the input itself, perhaps without places in it."""
    details = error.errors(include_input=False, include_url=False)
    text = "; ".join(
        f"{'.'.join(str(part) for part in detail['loc']) or 'body'}: "
        + (detail["msg"] if positions else _POSITION.sub("", detail["msg"])).removeprefix(
            "Value error, "
        )
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
    if lacking := NoResources.from_error(error):
        log.error("%s", lacking.message, exc_info=error)
        return _twinlens_error(lacking)
    log.error("the request failed", exc_info=error)
    return _twinlens_error(ProcessingFailed())
