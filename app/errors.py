# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Every error that a client may see, with its status code.

    TwinlensError
      +-- BadRequest          400   the request cannot be understood as an image request
      +-- Unauthorized        401   no key, or a wrong one
      +-- NotFound            404   the route is turned off
      +-- TooLarge            413   a budget is exceeded
      +-- UnsupportedType     415   wrong content type on a JSON route
      +-- WrongShape          422   JSON with a wrong or missing field
      +-- Busy                429   the waiting room is full
      +-- ClientGone          499   the client has hung up: nobody reads the answer, only the log
      +-- ProcessingFailed    500   a defect of ours
      +-- OperationFailed     500   loading, downloading or deleting a model failed
      +-- NotAvailable        503   weights missing, no memory, loading failed, shutting down
      +-- NoResources         503   the disk for temporary files is full, or memory ran out
      +-- RemoteFailed        502   the host of a remote image failed
      +-- TooSlow             504   a wait or a deadline ran out

The blueprints turn them into one JSON body (docs/contracts.md, "Errors, everywhere").
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
    """Base: ``title`` is short and stable, ``message`` says what to do about it."""

    status = 500
    title = "Processing failed"
    #: part of the body that is wrong, where the client shall be told
    param: str | None = None

    def __init__(
        self, message: str, *, title: str | None = None, retry_after: int | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.title = title or self.title
        self.retry_after = retry_after

    def body(self) -> dict[str, str | bool]:
        """The JSON body: it satisfies the clients of both replaced services."""
        return {"error": self.title, "message": self.message, "detail": self.message}


class BadRequest(TwinlensError):
    """400."""

    status = 400
    title = "Bad request"


class Unauthorized(TwinlensError):
    """401: the key is missing or wrong."""

    status = 401
    title = "Unauthorized"


class NotFound(TwinlensError):
    """404."""

    status = 404
    title = "Not found"


class TooLarge(TwinlensError):
    """413: the message names the budget and the actual value."""

    status = 413
    title = "Too large"


class UnsupportedType(TwinlensError):
    """415."""

    status = 415
    title = "Unsupported media type"


class WrongShape(TwinlensError):
    """422: the message names the field and what was expected."""

    status = 422
    title = "Invalid request body"


class Busy(TwinlensError):
    """429: the waiting room is full."""

    status = 429
    title = "Too many requests"


class ClientGone(TwinlensError):
    """499, nginx's own code for it: the client has hung up, so its work is dropped."""

    status = 499
    title = "Client closed request"

    def __init__(self) -> None:
        super().__init__("The client has hung up before its turn")


class ProcessingFailed(TwinlensError):
    """500: the log has the cause."""

    def __init__(self) -> None:
        super().__init__(
            "The image could not be processed; the log has details under the request id"
        )


class OperationFailed(TwinlensError):
    """500: loading, unloading, downloading or deleting a model failed."""

    def body(self) -> dict[str, str | bool]:
        """As all bodies, with the flag that ImmichVR's client knows."""
        return {"success": False, **super().body()}


class NotAvailable(TwinlensError):
    """503: the model cannot answer now."""

    status = 503
    title = "Model not initialized"


class NoResources(TwinlensError):
    """503: the host lacks what the request needs; others may go on."""

    status = 503
    title = "Out of resources"

    def __init__(self, reason: str) -> None:
        super().__init__(f"{reason}; try again later", retry_after=10)

    @classmethod
    def behind(cls, error: BaseException) -> NoResources | None:
        """Where another error means a full disk, no memory or no descriptors: this one."""
        if isinstance(error, MemoryError):
            return cls(_NO_RESOURCES[errno.ENOMEM])
        number = error.errno if isinstance(error, OSError) else None
        return cls(_NO_RESOURCES[number]) if number in _NO_RESOURCES else None


class RemoteFailed(TwinlensError):
    """502: the host of a remote image failed."""

    status = 502
    title = "Remote image failed"


class TooSlow(TwinlensError):
    """504: a wait or a deadline ran out."""

    status = 504
    title = "Timed out"
