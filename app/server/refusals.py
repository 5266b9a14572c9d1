# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Error responses to malformed requests: gunicorn's status with the service's JSON body."""

from __future__ import annotations

import json
import uuid

from app.errors import code_of_status

_MESSAGE = "The request is malformed or its headers are too large; it was not processed"


class CapturedResponse:
    """Used in place of a socket: captures the HTML response that gunicorn would send."""

    def __init__(self) -> None:
        self.data = b""

    def gettimeout(self) -> float:
        """See socket.socket; 0 means non-blocking."""
        return 0.0

    def sendall(self, data: bytes) -> None:
        """Keep the data; see socket.socket."""
        self.data += data

    def status(self) -> int:
        """The HTTP status code that gunicorn chose."""
        return int(self._status_line()[:3])

    def as_json(self) -> bytes:
        """The complete HTTP response with gunicorn's status and the JSON body of all errors."""
        status = self._status_line()
        body = {
            "error": status[4:],
            "message": _MESSAGE,
            "detail": _MESSAGE,
            "code": code_of_status(int(status[:3])),
        }
        data = json.dumps(body).encode()
        head = (
            f"HTTP/1.1 {status}\r\n"
            "Connection: close\r\n"
            "Content-Type: application/json\r\n"
            f"Content-Length: {len(data)}\r\n"
            f"X-Request-ID: {uuid.uuid4().hex}\r\n\r\n"
        )
        return head.encode() + data

    def _status_line(self) -> str:
        return self.data.split(b"\r\n", 1)[0].removeprefix(b"HTTP/1.1 ").decode("latin-1")
