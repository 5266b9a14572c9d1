# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Runs image hosts on the loopback interface that misbehave in every way that we know of."""

from __future__ import annotations

import gzip
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.services import PHOTO


class Host(ThreadingHTTPServer):
    """Listens on one address and records in ``paths`` what was requested from it."""

    daemon_threads = True

    def __init__(self, address: str, port: int = 0, tls: ssl.SSLContext | None = None) -> None:
        super().__init__((address, port), _Handler)
        self.paths: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.stopped = threading.Event()
        if tls is not None:
            self.socket = tls.wrap_socket(self.socket, server_side=True)

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    def handle_error(self, request: object, client_address: object) -> None:
        """Print nothing, because the tests break connections on purpose."""

    @contextmanager
    def running(self) -> Iterator[Host]:
        threading.Thread(target=self.serve_forever, daemon=True).start()
        try:
            yield self
        finally:
            self.stopped.set()
            self.shutdown()
            self.server_close()


class _Handler(BaseHTTPRequestHandler):
    server: Host

    def do_GET(self) -> None:
        self.server.paths.append(self.path)
        self.server.headers.append(dict(self.headers))
        name, _, argument = self.path.lstrip("/").partition("?to=")
        with suppress(ConnectionError, ssl.SSLError):
            getattr(self, f"answer_{name}", self.answer_image)(argument)

    def begin(self, status: int = 200, **headers: str) -> None:
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key.replace("_", "-"), value)
        self.end_headers()

    def answer_image(self, _: str) -> None:
        self.begin(Content_Type="application/octet-stream")  # the type must not matter
        self.wfile.write(PHOTO)

    def answer_megabyte(self, _: str) -> None:
        self.begin(Content_Type="image/png")
        self.wfile.write(bytes(1_000_000))

    def answer_redirect(self, to: str) -> None:
        self.begin(302, Location=to)

    def answer_again(self, _: str) -> None:
        self.begin(302, Location="/again")

    def answer_far(self, _: str) -> None:
        self.begin(302, Location="/image?" + "a" * 9000)

    def answer_broken(self, _: str) -> None:
        self.begin(500)

    def answer_html(self, _: str) -> None:
        self.begin(Content_Type="text/html")
        self.wfile.write(PHOTO)

    def answer_lies(self, _: str) -> None:
        self.begin(Content_Type="image/png")
        self.wfile.write(b"<html>")

    def answer_endless(self, _: str) -> None:
        self.begin(Content_Type="image/png")
        while not self.server.stopped.is_set():
            self.wfile.write(bytes(100_000))

    def answer_bomb(self, _: str) -> None:
        self.begin(Content_Type="image/png", Content_Encoding="gzip")
        self.wfile.write(gzip.compress(bytes(200_000_000), 1))

    def answer_silent(self, _: str) -> None:
        self.server.stopped.wait(30)

    def answer_drip(self, _: str) -> None:
        self.begin(Content_Type="image/png")
        self._drip()

    def answer_headers(self, _: str) -> None:
        self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Long: ")
        self._drip()

    def _drip(self) -> None:
        while not self.server.stopped.is_set():
            self.wfile.write(b"a")
            self.wfile.flush()
            time.sleep(0.1)

    def answer_short(self, _: str) -> None:
        self.begin(Content_Type="image/png", Content_Length="100000")
        self.wfile.write(PHOTO[:100])

    def log_message(self, format: str, *arguments: object) -> None:
        """Log nothing."""
