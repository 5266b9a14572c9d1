# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Stands in for immich-machine-learning, and builds requests as Immich's server does."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, field
from email.parser import BytesParser
from email.policy import HTTP
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

BOUNDARY = "----formdata-undici-031415926535"


def form(entries: object, *, image: bytes | None = None, text: str | None = None) -> dict[str, Any]:
    """Return the body and headers that Node's ``fetch`` makes of Immich's FormData."""
    head = f"--{BOUNDARY}\r\nContent-Disposition: form-data; name="
    body = f'{head}"entries"\r\n\r\n{json.dumps(entries)}\r\n'.encode()
    if image is not None:
        body += (
            f'{head}"image"; filename="blob"\r\nContent-Type: application/octet-stream\r\n\r\n'
        ).encode() + image
        body += b"\r\n"
    if text is not None:
        body += f'{head}"text"\r\n\r\n{text}\r\n'.encode()
    body += f"--{BOUNDARY}--\r\n".encode()
    return {
        "data": body,
        "headers": {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"},
    }


def search(kind: str, model: str, **options: Any) -> dict[str, Any]:
    """Return the entries of smart search; ``kind`` is "visual" or "textual"."""
    entry = {"modelName": model} | ({"options": options} if options else {})
    return {"clip": {kind: entry}}


FACES = {
    "facial-recognition": {
        "detection": {"modelName": "buffalo_l", "options": {"minScore": 0.7}},
        "recognition": {"modelName": "buffalo_l"},
    }
}
OCR = {
    "ocr": {
        "detection": {
            "modelName": "PP-OCRv5_mobile",
            "options": {"minScore": 0.5, "maxResolution": 736},
        },
        "recognition": {"modelName": "PP-OCRv5_mobile", "options": {"minScore": 0.8}},
    }
}
# With blanks and digits that another JSON writer would change.
ANSWER = (
    b'{ "facial-recognition": [{"score": 0.10000000000000001}], "imageHeight": 7, "imageWidth": 9 }'
)


@dataclass
class Received:
    """One request as it came."""

    fields: dict[str, str] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)


class StandIn(ThreadingHTTPServer):
    """Answers ``POST /predict`` with ``answer``, or in the ways that a test asks for."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.received: list[Received] = []
        self.status, self.answer = 200, ANSWER
        #: Requests for the model "slow" are never answered: set when one waits, and when its
        #: connection was closed by the other side.
        self.waiting, self.hung_up = threading.Event(), threading.Event()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing where a client has hung up."""


class _Handler(BaseHTTPRequestHandler):
    server: StandIn

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        kind = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
        received = Received()
        whole: Any = BytesParser(policy=HTTP).parsebytes(kind + body)
        for part in whole.iter_parts():
            name = part.get_param("name", header="content-disposition")
            content: bytes = part.get_payload(decode=True)
            if part.get_filename() is None:
                received.fields[name] = content.decode()
            else:
                received.files[name] = content
        self.server.received.append(received)
        if '"slow"' in received.fields["entries"]:
            self.server.waiting.set()
            if self.connection.recv(1) == b"":  # nothing else is sent: it waits for the end
                self.server.hung_up.set()
            return
        self.send_response(self.server.status if self.path == "/predict" else 404)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(self.server.answer)))
        self.end_headers()
        self.wfile.write(self.server.answer)

    def log_message(self, *_: object) -> None:
        """Write no log."""
