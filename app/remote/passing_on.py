# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Passes a multipart form on to another server of the operator, and brings its answer back.

The file of the form is sent in pieces, so that it needs no second copy in memory.
"""

from __future__ import annotations

import http.client
import os
import secrets
import socket
import ssl
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import BinaryIO
from urllib.parse import urlsplit

from app.errors import NoResources, RemoteFailed
from app.remote.deadline import Deadline
from app.remote.fetch import resolve

#: A header that marks what was passed on, so that a server that leads to itself is noticed.
MARK = "X-Twinlens-Passed-On"
_CONNECT_SECONDS = 10.0
_MOST_BYTES = 2**24
_PIECE = 2**16
_QUOTED = 300


@dataclass(frozen=True)
class Answer:
    """The body of an answer with status 200, and its content type."""

    body: bytes
    kind: str


@dataclass(frozen=True)
class Form:
    """Fields, and at most one file as its field, file name and content."""

    fields: Mapping[str, str]
    file: tuple[str, str, BinaryIO] | None

    def pieces(self, boundary: str) -> tuple[int, Iterator[bytes]]:
        """The number of bytes of the form, and the bytes in pieces."""
        heads = [
            f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
            for name, value in self.fields.items()
        ]
        end = f"--{boundary}--\r\n".encode()
        if self.file is None:
            whole = "".join(heads).encode() + end
            return len(whole), iter([whole])
        field, file_name, content = self.file
        heads.append(
            f'--{boundary}\r\nContent-Disposition: form-data; name="{field}"; '
            f'filename="{file_name}"\r\nContent-Type: application/octet-stream\r\n\r\n'
        )
        before, after = "".join(heads).encode(), b"\r\n" + end
        size = content.seek(0, os.SEEK_END)
        content.seek(0)

        def pieces() -> Iterator[bytes]:
            yield before
            while piece := content.read(_PIECE):
                yield piece
            yield after

        return len(before) + size + len(after), pieces()


class PassingOn:
    """Sends forms to one server.

    Args:
        url: its address, as the operator has set it; the rules for addresses that clients send
            do not apply.
        setting: the name of that setting, for messages.
        seconds: limit for a whole exchange.
        seconds_setting: the name of the setting with this limit.
    """

    def __init__(self, url: str, setting: str, seconds: float, seconds_setting: str) -> None:
        self._url, self._setting = url, setting
        self._seconds, self._seconds_setting = seconds, seconds_setting

    def post(
        self,
        path: str,
        form: Form,
        *,
        check_cancelled: Callable[[], None] = lambda: None,
        hold: Callable[[int], None] = lambda _: None,
    ) -> Answer:
        """Send a form to a path below the address, and return the answer.

        Args:
            path: such as "/predict".
            form: the form.
            check_cancelled: see ``Deadline``.
            hold: called with the number of bytes of each piece of the answer; may raise Busy.

        Raises:
            NoResources: memory or file descriptors ran out.
            RemoteFailed: the server cannot be reached, or answers no success.
            TooSlow: it took too long.
        """
        late = f"{self._named} took longer than {self._seconds:g} seconds ({self._seconds_setting})"
        with Deadline(self._seconds, check_cancelled, late) as deadline:
            try:
                return self._exchange(path, form, deadline, hold)
            except (OSError, http.client.HTTPException, ValueError) as error:
                # At the deadline the socket is shut, which can cause any of these errors.
                deadline.check()
                if no_resources := NoResources.from_error(error):
                    raise no_resources from error
                reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
                raise self._failed(f"cannot be reached, or broke off: {reason}") from error

    @property
    def _named(self) -> str:
        return f"{self._url} ({self._setting})"

    def _failed(self, what: str) -> RemoteFailed:
        return RemoteFailed(f"{self._named} {what}", title="Passing on failed")

    def _exchange(
        self, path: str, form: Form, deadline: Deadline, hold: Callable[[int], None]
    ) -> Answer:
        target = urlsplit(self._url)
        boundary = secrets.token_hex(16)
        length, pieces = form.pieces(boundary)
        headers = {
            "Content-Type": f"multipart/form-data; boundary={boundary}",
            "Content-Length": str(length),
            "Connection": "close",
            MARK: "1",
        }
        host = target.hostname or ""
        connection = http.client.HTTPConnection(target.netloc)
        try:
            connection.sock = self._connect(host, target.port, target.scheme == "https", deadline)
            connection.request("POST", target.path.rstrip("/") + path, pieces, headers)
            response = connection.getresponse()
            body = self._read(response, deadline, hold)
            if response.status != 200:
                text = " ".join(body.decode("utf-8", "replace").split())[:_QUOTED]
                raise self._failed(f"answered {response.status}: {text}")
            return Answer(body, response.headers.get("Content-Type", "application/json"))
        finally:
            connection.close()

    def _connect(
        self, host: str, port: int | None, secure: bool, deadline: Deadline
    ) -> socket.socket:
        port = port or (443 if secure else 80)
        addresses = deadline.run(lambda: resolve(host, port))
        for others_left, address in zip(reversed(range(len(addresses))), addresses, strict=True):
            seconds = min(_CONNECT_SECONDS, deadline.left())
            try:
                connection = socket.create_connection((address, port), seconds)
                break
            except OSError:
                deadline.check()
                if not others_left:
                    raise
        deadline.watch(connection)
        connection.settimeout(deadline.left())
        if secure:
            context = ssl.create_default_context()
            connection = context.wrap_socket(connection, server_hostname=host)
            deadline.watch(connection)
        return connection

    def _read(
        self, response: http.client.HTTPResponse, deadline: Deadline, hold: Callable[[int], None]
    ) -> bytes:
        content = bytearray()
        while piece := response.read(_PIECE):
            deadline.check()
            hold(len(piece))
            content += piece
            if len(content) > _MOST_BYTES:
                raise self._failed(f"answered more than {_MOST_BYTES} bytes")
        deadline.check()
        return bytes(content)
