# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Makes trouble for a service under load: bombs, slow readers, and workers that are stopped."""

from __future__ import annotations

import os
import signal
import socket
import threading
from contextlib import suppress

import psutil

from benchmarks.service import Service
from tests.attacks.bombs import progressive, tiff_strips, tiff_tile

_READERS = 40
_BYTES_A_SECOND = 200
_PIPELINED = 20
#: how many seconds a worker is stopped
_STOPPED_SECONDS = 3.0


class Trouble:
    """Reads slowly and sends bombs during a ``with`` block."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._end = threading.Event()
        self._bombs = [
            progressive(4000, 4000, 2000),
            tiff_tile(100, 100, 46336, 46336),
            tiff_strips(1000, 100_000),
        ]
        self._threads = [threading.Thread(target=self._send_bombs)]
        self._threads += [threading.Thread(target=self._read_slowly) for _ in range(_READERS)]
        #: number of bombs that were sent
        self.bombs = 0

    def __enter__(self) -> Trouble:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join(90)
            assert not thread.is_alive()

    def stop_for_a_while(self, worker: psutil.Process) -> None:
        """Stop a worker for some seconds, as a debugger or a machine without memory would."""
        with suppress(psutil.NoSuchProcess):
            worker.suspend()

        def resume() -> None:
            with suppress(ProcessLookupError):
                os.kill(worker.pid, signal.SIGCONT)

        timer = threading.Timer(_STOPPED_SECONDS, resume)
        timer.start()
        self._threads.append(timer)

    def _send_bombs(self) -> None:
        number = 0
        while not self._end.wait(0.5):
            bomb = self._bombs[number % len(self._bombs)]
            path = ("/api/depth", "/embed-image")[number % 2]
            number += 1
            with suppress(OSError), self._connection() as connection:
                connection.sendall(_multipart(path, bomb))
                self.bombs += 1
                if number % 3:  # the others, every third client, hang up immediately
                    connection.settimeout(1)
                    connection.recv(4096)

    def _read_slowly(self) -> None:
        request = b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n" * _PIPELINED
        while not self._end.is_set():
            with suppress(OSError), self._connection() as connection:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                connection.sendall(request)
                while not self._end.wait(1) and connection.recv(_BYTES_A_SECOND):
                    pass
            self._end.wait(0.5)

    def _connection(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self._service.embedder_port), timeout=10)


def _multipart(path: str, image: bytes) -> bytes:
    body = (
        b'--x\r\nContent-Disposition: form-data; name="image"; filename="a.jpg"\r\n\r\n'
        + image
        + b"\r\n--x--\r\n"
    )
    head = (
        f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=x\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body
