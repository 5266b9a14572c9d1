# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Every error that a client may get, with its HTTP status code.

    TwinlensError
      +-- BadRequest          400   a parameter, an image or another part of the request is invalid
      +-- Unauthorized        401   the API key is missing or wrong
      +-- NotFound            404   the route is turned off, or it does not exist
      +-- Conflict            409   a job is not in the state that the request needs
      +-- TooLarge            413   the request exceeds a limit on bytes, pixels or items
      +-- UnsupportedType     415   a JSON route got another content type
      +-- WrongShape          422   a field of the JSON body is missing or invalid
      +-- Busy                429   too many requests are queued or hold too many bytes
      +-- ClientGone          499   the client closed the connection: only the log shows this
      +-- ProcessingFailed    500   an unexpected error; the log has its traceback
      +-- OperationFailed     500   loading, downloading or deleting a model failed
      +-- NotSetUp            501   Immich's route has nobody to ask, see app/blueprints/immich.py
      +-- NotAvailable        503   the model is not loaded or the service is shutting down
      +-- NoResources         503   disk space, memory or file descriptors ran out
      +-- RemoteFailed        502   the server of a remote image, or that at IMMICH_ML_URL, failed
      +-- TooSlow             504   the request exceeded a time limit

The blueprints answer each of them with a JSON body (docs/contracts.md, "Errors, everywhere"). Its
``code`` is for programs: docs/api.md lists all codes.
"""

from __future__ import annotations

import errno
from typing import Literal

#: Every code of an error. A code is never renamed, because clients compare it.
Code = Literal[
    "bad_request",
    "no_image",
    "no_video",
    "no_text",
    "no_text_network",
    "invalid_image",
    "invalid_film",
    "invalid_text",
    "invalid_option",
    "invalid_base64",
    "invalid_data_uri",
    "invalid_key",
    "invalid_source",
    "unknown_model",
    "focal_length_needed",
    "url_refused",
    "unauthorized",
    "not_found",
    "not_set_up",
    "family_off",
    "unknown_job",
    "method_not_allowed",
    "body_too_slow",
    "job_not_done",
    "job_failed",
    "too_large",
    "body_too_large",
    "image_too_large",
    "image_too_complex",
    "film_too_large",
    "film_too_complex",
    "text_too_long",
    "batch_too_large",
    "answer_too_large",
    "address_too_long",
    "headers_too_large",
    "unsupported_media_type",
    "range_not_satisfiable",
    "invalid_body",
    "too_many_requests",
    "too_many_bytes",
    "too_many_films",
    "too_many_jobs",
    "queue_full",
    "client_gone",
    "processing_failed",
    "load_failed",
    "download_failed",
    "delete_failed",
    "remote_failed",
    "refused_by_proxy",
    "model_not_on_disk",
    "model_downloading",
    "model_unavailable",
    "add_failed",
    "not_available",
    "shutting_down",
    "out_of_resources",
    "timed_out",
    "queue_timeout",
    "inference_timeout",
    "remote_timeout",
]

#: The code of errors with a title of their own.
CODE_OF_TITLE: dict[str, Code] = {
    "Delete failed": "delete_failed",
    "Download failed": "download_failed",
    "Film too complex": "film_too_complex",
    "Image too complex": "image_too_complex",
    "Invalid base64": "invalid_base64",
    "Invalid data URI": "invalid_data_uri",
    "Invalid film": "invalid_film",
    "Invalid image": "invalid_image",
    "Invalid key": "invalid_key",
    "Invalid option": "invalid_option",
    "Invalid source": "invalid_source",
    "Invalid text": "invalid_text",
    "Load failed": "load_failed",
    "Mixed vectors": "bad_request",
    "Model not available": "model_unavailable",
    "No image": "no_image",
    "No image provided": "no_image",
    "No room": "out_of_resources",
    "No text provided": "no_text",
    "No texts": "no_text_network",
    "No vectors": "bad_request",
    "No video provided": "no_video",
    "Not added": "add_failed",
    "Not available": "not_available",
    "Passing on failed": "remote_failed",
    "Shutting down": "shutting_down",
    "URL refused": "url_refused",
    "Unknown model": "unknown_model",
}

_CODE_OF_STATUS: dict[int, Code] = {
    404: "not_found",
    405: "method_not_allowed",
    408: "body_too_slow",
    413: "body_too_large",
    414: "address_too_long",
    415: "unsupported_media_type",
    416: "range_not_satisfiable",
    431: "headers_too_large",
}

_NO_RESOURCES = {
    errno.ENOSPC: "The disk for temporary files is full",
    errno.EDQUOT: "The disk for temporary files is full",
    errno.EMFILE: "The service has too many files and connections open",
    errno.ENFILE: "The system has too many files and connections open",
    errno.ENOMEM: "The system has no memory left",
}


def code_of_status(status: int) -> Code:
    """The code of an error that Flask or gunicorn answers with this status."""
    return _CODE_OF_STATUS.get(status, "bad_request" if status < 500 else "processing_failed")


class TwinlensError(Exception):
    """Base class of all errors for clients.

    Args:
        message: what is wrong and what the client can do about it.
        title: short text that names the kind of error; default: the title of the class.
        retry_after: value of the ``Retry-After`` header in seconds; None: no such header.
        code: what programs tell errors apart by; default: that of the title, or of the class.
    """

    status = 500
    title = "Processing failed"
    code: Code = "processing_failed"
    #: name of the invalid parameter; OpenAI's routes report it as ``param``
    param: str | None = None
    #: the code in errors of OpenAI's shape, where it differs
    openai_code: str | None = None
    #: why it cannot be done, as a field of its own; every 503 has one
    reason: str | None = None

    def __init__(
        self,
        message: str,
        *,
        title: str | None = None,
        retry_after: int | None = None,
        code: Code | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.title = title or self.title
        self.retry_after = retry_after
        self.code = code or CODE_OF_TITLE.get(self.title, self.code)

    def body(self) -> dict[str, str | bool]:
        """The JSON body, with the fields that clients of both replaced services read."""
        body: dict[str, str | bool] = {
            "error": self.title,
            "message": self.message,
            "detail": self.message,
            "code": self.code,
        }
        return body if self.reason is None else body | {"reason": self.reason}


class BadRequest(TwinlensError):
    """400: a part of the request is invalid."""

    status = 400
    title = "Bad request"
    code: Code = "bad_request"


class Unauthorized(TwinlensError):
    """401: the API key is missing or wrong."""

    status = 401
    title = "Unauthorized"
    code: Code = "unauthorized"


class NotFound(TwinlensError):
    """404: the route is turned off or does not exist."""

    status = 404
    title = "Not found"
    code: Code = "not_found"


class Conflict(TwinlensError):
    """409: the request needs a job in another state than it is in."""

    status = 409
    title = "Not in this state"
    code: Code = "job_not_done"


class TooLarge(TwinlensError):
    """413: the request exceeds a limit; the message names the limit."""

    status = 413
    title = "Too large"
    code: Code = "too_large"


class UnsupportedType(TwinlensError):
    """415: the content type is not accepted on this route."""

    status = 415
    title = "Unsupported media type"
    code: Code = "unsupported_media_type"


class WrongShape(TwinlensError):
    """422: the message names the invalid field of the body and what was expected."""

    status = 422
    title = "Invalid request body"
    code: Code = "invalid_body"


class Busy(TwinlensError):
    """429: the service has as many requests, or bytes of requests, as it accepts."""

    status = 429
    title = "Too many requests"
    code: Code = "too_many_requests"


class ClientGone(TwinlensError):
    """499 (nginx's code): the client closed the connection, so its request is dropped."""

    status = 499
    title = "Client closed request"
    code: Code = "client_gone"

    def __init__(self) -> None:
        super().__init__("The client has hung up before its turn")


class ProcessingFailed(TwinlensError):
    """500: an unexpected error; the log has the cause."""

    def __init__(self, what: str = "image") -> None:
        super().__init__(
            f"The {what} could not be processed; the log has details under the request id"
        )


class OperationFailed(TwinlensError):
    """500: loading, unloading, downloading or deleting a model failed."""

    def body(self) -> dict[str, str | bool]:
        """The JSON body, with the field ``success`` that ImmichVR's client reads."""
        return {"success": False, **super().body()}


class NotAvailable(TwinlensError):
    """503: the model cannot serve requests now, or the service is shutting down.

    Args:
        message, title, retry_after, code: see the base class.
        reason: why the model cannot serve; default: the message. It is a field of its own, because
            clients of the replaced depth service know its message word for word.
    """

    status = 503
    title = "Model not initialized"
    code: Code = "model_unavailable"

    def __init__(
        self,
        message: str,
        *,
        title: str | None = None,
        retry_after: int | None = None,
        code: Code | None = None,
        reason: str | None = None,
    ) -> None:
        super().__init__(message, title=title, retry_after=retry_after, code=code)
        self.reason = reason or message


class NoResources(TwinlensError):
    """503: no disk space, memory or file descriptors for this request; others may succeed."""

    status = 503
    title = "Out of resources"
    code: Code = "out_of_resources"

    def __init__(self, reason: str) -> None:
        super().__init__(f"{reason}; try again later", retry_after=10)
        self.reason = reason

    @classmethod
    def from_error(cls, error: BaseException) -> NoResources | None:
        """A NoResources if ``error`` means a full disk, no memory or no descriptors, or None."""
        if isinstance(error, MemoryError):
            return cls(_NO_RESOURCES[errno.ENOMEM])
        number = error.errno if isinstance(error, OSError) else None
        return cls(_NO_RESOURCES[number]) if number in _NO_RESOURCES else None


class RemoteFailed(TwinlensError):
    """502: the server of a remote image, or the one at IMMICH_ML_URL, failed."""

    status = 502
    title = "Remote image failed"
    code: Code = "remote_failed"


class TooSlow(TwinlensError):
    """504: the request waited too long, or a part of its work took too long."""

    status = 504
    title = "Timed out"
    code: Code = "timed_out"
