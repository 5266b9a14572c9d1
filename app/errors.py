# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Every error that a client may get, with its HTTP status code.

    TwinlensError
      +-- BadRequest          400   a parameter, an image or another part of the request is invalid
      +-- Unauthorized        401   the API key is missing or wrong
      +-- NotFound            404   the route is turned off, or it does not exist
      +-- TooLarge            413   the request exceeds a limit on bytes, pixels or items
      +-- UnsupportedType     415   a JSON route got another content type
      +-- WrongShape          422   a field of the JSON body is missing or invalid
      +-- Busy                429   too many requests are queued or hold too many bytes
      +-- ClientGone          499   the client closed the connection: only the log shows this
      +-- ProcessingFailed    500   an unexpected error; the log has its traceback
      +-- OperationFailed     500   loading, downloading or deleting a model failed
      +-- NotAvailable        503   the model is not loaded or the service is shutting down
      +-- NoResources         503   disk space, memory or file descriptors ran out
      +-- RemoteFailed        502   the server of a remote image failed
      +-- TooSlow             504   the request exceeded a time limit

The blueprints answer each of them with a JSON body (docs/contracts.md, "Errors, everywhere").
"""

from __future__ import annotations

import errno

_NO_RESOURCES = {
    errno.ENOSPC: "The disk for temporary files is full",
    errno.EDQUOT: "The disk for temporary files is full",
    errno.EMFILE: "The service has too many files and connections open",
    errno.ENFILE: "The system has too many files and connections open",
    errno.ENOMEM: "The system has no memory left",
}


class TwinlensError(Exception):
    """Base class of all errors for clients.

    Args:
        message: what is wrong and what the client can do about it.
        title: short text that names the kind of error; default: the title of the class.
        retry_after: value of the ``Retry-After`` header in seconds; None: no such header.
    """

    status = 500
    title = "Processing failed"
    #: name of the invalid parameter; OpenAI's routes report it as ``param``
    param: str | None = None

    def __init__(
        self, message: str, *, title: str | None = None, retry_after: int | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.title = title or self.title
        self.retry_after = retry_after

    def body(self) -> dict[str, str | bool]:
        """The JSON body, with the fields that clients of both replaced services read."""
        return {"error": self.title, "message": self.message, "detail": self.message}


class BadRequest(TwinlensError):
    """400: a part of the request is invalid."""

    status = 400
    title = "Bad request"


class Unauthorized(TwinlensError):
    """401: the API key is missing or wrong."""

    status = 401
    title = "Unauthorized"


class NotFound(TwinlensError):
    """404: the route is turned off or does not exist."""

    status = 404
    title = "Not found"


class TooLarge(TwinlensError):
    """413: the request exceeds a limit; the message names the limit."""

    status = 413
    title = "Too large"


class UnsupportedType(TwinlensError):
    """415: the content type is not accepted on this route."""

    status = 415
    title = "Unsupported media type"


class WrongShape(TwinlensError):
    """422: the message names the invalid field of the body and what was expected."""

    status = 422
    title = "Invalid request body"


class Busy(TwinlensError):
    """429: the service has as many requests, or bytes of requests, as it accepts."""

    status = 429
    title = "Too many requests"


class ClientGone(TwinlensError):
    """499 (nginx's code): the client closed the connection, so its request is dropped."""

    status = 499
    title = "Client closed request"

    def __init__(self) -> None:
        super().__init__("The client has hung up before its turn")


class ProcessingFailed(TwinlensError):
    """500: an unexpected error; the log has the cause."""

    def __init__(self) -> None:
        super().__init__(
            "The image could not be processed; the log has details under the request id"
        )


class OperationFailed(TwinlensError):
    """500: loading, unloading, downloading or deleting a model failed."""

    def body(self) -> dict[str, str | bool]:
        """The JSON body, with the field ``success`` that ImmichVR's client reads."""
        return {"success": False, **super().body()}


class NotAvailable(TwinlensError):
    """503: the model cannot serve requests now, or the service is shutting down.

    Args:
        message, title, retry_after: see the base class.
        reason: why the model cannot serve. It is a field of its own, because clients of the
            replaced depth service know its message word for word.
    """

    status = 503
    title = "Model not initialized"

    def __init__(
        self,
        message: str,
        *,
        title: str | None = None,
        retry_after: int | None = None,
        reason: str | None = None,
    ) -> None:
        super().__init__(message, title=title, retry_after=retry_after)
        self.reason = reason

    def body(self) -> dict[str, str | bool]:
        """The JSON body, with the reason if there is one."""
        return super().body() | ({"reason": self.reason} if self.reason is not None else {})


class NoResources(TwinlensError):
    """503: no disk space, memory or file descriptors for this request; others may succeed."""

    status = 503
    title = "Out of resources"

    def __init__(self, reason: str) -> None:
        super().__init__(f"{reason}; try again later", retry_after=10)

    @classmethod
    def from_error(cls, error: BaseException) -> NoResources | None:
        """A NoResources if ``error`` means a full disk, no memory or no descriptors, or None."""
        if isinstance(error, MemoryError):
            return cls(_NO_RESOURCES[errno.ENOMEM])
        number = error.errno if isinstance(error, OSError) else None
        return cls(_NO_RESOURCES[number]) if number in _NO_RESOURCES else None


class RemoteFailed(TwinlensError):
    """502: the server of a remote image cannot be reached, or its response is unusable."""

    status = 502
    title = "Remote image failed"


class TooSlow(TwinlensError):
    """504: the request waited too long, or a part of its work took too long."""

    status = 504
    title = "Timed out"
