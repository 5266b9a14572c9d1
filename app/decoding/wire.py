# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Messages between a worker and its decoding processes: JSON lines over a Unix socket.

They are JSON and not pickle, because unpickling data from a compromised decoder could run code in
the worker.
"""

from __future__ import annotations

import json
import os
import socket
from array import array
from typing import Any

Message = dict[str, Any]

_CHUNK_BYTES = 2**16
# Longest message that is accepted; log lines are the largest part of it.
_MOST_BYTES = 2**20


class Wire:
    """One end of the connection, which sends and receives messages and file descriptors."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._buffer = b""
        self._descriptors: list[int] = []

    def fileno(self) -> int:
        """The socket's descriptor, for ``select``."""
        return self._socket.fileno()

    def has_more(self) -> bool:
        """Whether a whole message is in the buffer already, which ``select`` cannot see."""
        return b"\n" in self._buffer.lstrip()

    def send(self, message: Message, descriptor: int | None = None) -> None:
        """Send a message, with a file descriptor if one is given.

        Raises:
            OSError: the other side has closed the connection.
        """
        data = json.dumps(message).encode() + b"\n"
        descriptors = [] if descriptor is None else [descriptor]
        sent = socket.send_fds(self._socket, [data], descriptors)
        if sent < len(data):
            self._socket.sendall(data[sent:])

    def send_at_once(self, message: Message, descriptor: int | None = None) -> None:
        """Send a short message like ``send``, but do not wait for buffer space.

        Raises:
            BlockingIOError: the other side has not read enough of what came before.
            OSError: the other side has closed the connection.
        """
        data = json.dumps(message).encode() + b"\n"
        rights = [] if descriptor is None else [array("i", [descriptor])]
        # ``socket.send_fds`` ignores flags.
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, right) for right in rights]
        try:
            # The system takes all of a short message or nothing.
            self._socket.sendmsg([data], ancillary, socket.MSG_DONTWAIT)
        except TimeoutError as error:  # a ``receive`` in another thread has set a time limit
            raise BlockingIOError(*error.args) from None

    def send_after_break(self, message: Message) -> None:
        """Send a message on a connection where a dead process may have left an unfinished line.

        Does not wait for buffer space. Raises OSError.
        """
        data = b"\n" + json.dumps(message).encode() + b"\n"
        self._socket.send(data, socket.MSG_DONTWAIT)

    def receive(self, seconds: float | None = None) -> Message:
        """Wait for the next message. A descriptor sent with it is kept for ``take_descriptor``.

        Args:
            seconds: longest wait; None means no limit.

        Raises:
            TimeoutError: no message arrived in time.
            EOFError: the other side has closed the connection.
            ValueError: the received line is not a valid message.
        """
        self._socket.settimeout(seconds)
        try:
            line = b""
            while not line.strip():
                while b"\n" not in self._buffer:
                    self._receive_more()
                line, _, self._buffer = self._buffer.partition(b"\n")
        finally:
            self._socket.settimeout(None)
        message = json.loads(line)
        if not isinstance(message, dict):
            raise ValueError("not an object")
        return message

    def take_descriptor(self) -> int:
        """The oldest received descriptor that was not taken yet; the caller closes it.

        Raises:
            ValueError: there is none.
        """
        if not self._descriptors:
            raise ValueError("no descriptor has come")
        return self._descriptors.pop(0)

    def close(self) -> None:
        """Close the socket and all descriptors that were not taken."""
        self._socket.close()
        while self._descriptors:
            os.close(self._descriptors.pop())

    def _receive_more(self) -> None:
        flags = getattr(socket, "MSG_CMSG_CLOEXEC", 0)
        try:
            data, descriptors, _, _ = socket.recv_fds(self._socket, _CHUNK_BYTES, 1, flags)
        except ConnectionError:
            raise EOFError from None
        self._descriptors += descriptors
        if not data:
            raise EOFError
        self._buffer += data
        if len(self._buffer) > _MOST_BYTES:
            raise ValueError("the message is too long")
