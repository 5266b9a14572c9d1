# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Runs a model hub on the loopback interface, which fails in the ways that a test asks for."""

from __future__ import annotations

import re
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest


class FakeHub(ThreadingHTTPServer):
    """Serves the repositories of a hub cache as the real hub does, with ETag, commit and ranges."""

    daemon_threads = True

    def __init__(self, cache: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.cache = cache
        self.refuse = 0  # how many more requests are answered with 503
        self.deny: tuple[int, str] | None = None  # if set, the status and error code of all answers
        self.large_files: FakeHub | None = None  # if set, another host, which serves the files
        self.stall_at: int | None = None  # if set, a file's sending stops after this many bytes
        # If set, sending a file pauses after this many bytes, until this is larger or None.
        self.hold_at: int | None = None
        self.explains = True  # whether a 404 has the header with the hub's error code
        self.knows_ranges = True  # whether a range is answered with that part only
        self.garble = False  # whether the bytes of files are changed
        self.pause = 0.0  # seconds to wait before each MiB
        self.ranges: list[str] = []  # the Range headers of requests
        self.gets: list[str] = []  # the names of the requested files
        self.heads: list[str] = []  # the revisions in HEAD requests
        self.tokens: list[str] = []  # the Authorization headers of GET requests

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing where a client has hung up."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]

    def is_used_here(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """For this process, too, where the hub client has read the environment already."""
        monkeypatch.setenv("HF_ENDPOINT", self.endpoint)
        monkeypatch.setenv("HF_HUB_OFFLINE", "")
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", self.endpoint)
        monkeypatch.setattr(
            "huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE",
            self.endpoint + "/{repo_id}/resolve/{revision}/{filename}",
        )

    @contextmanager
    def running(self) -> Iterator[FakeHub]:
        threading.Thread(target=self.serve_forever, daemon=True).start()
        try:
            yield self
        finally:
            self.shutdown()
            self.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FakeHub

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, body: bool) -> None:
        hub = self.server
        wanted = re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", self.path)
        if hub.refuse > 0:
            hub.refuse -= 1
            self._empty(503)
            return
        if hub.deny is not None:
            status, word = hub.deny
            self._empty(status, ("X-Error-Code", word))
            return
        folder = hub.cache / f"models--{wanted[1].replace('/', '--')}" if wanted else None
        if wanted is None or folder is None or not folder.is_dir():
            self._empty(404, ("X-Error-Code", "RepoNotFound"))
            return
        commit = wanted[2]
        if not (folder / "snapshots" / commit).is_dir():
            reference = folder / "refs" / commit
            if not reference.is_file():
                self._empty(404, ("X-Error-Code", "RevisionNotFound"))
                return
            commit = reference.read_text()
        file = folder / "snapshots" / commit / wanted[3]
        if not file.is_file():
            if not body:
                hub.heads.append(wanted[2])
            header = ("X-Error-Code", "EntryNotFound") if hub.explains else ("X-Mirror", "1")
            self._empty(404, header, ("X-Repo-Commit", commit))
            return
        content = file.read_bytes()
        start = 0
        etag = f'"{file.resolve().name}"'
        if not body:
            hub.heads.append(wanted[2])
            if hub.large_files is not None:
                self._empty(
                    302,
                    ("Location", f"{hub.large_files.endpoint}{self.path}"),
                    ("X-Repo-Commit", commit),
                    ("X-Linked-Etag", etag),
                    ("X-Linked-Size", str(len(content))),
                )
                return
        if body:
            hub.gets.append(wanted[3])
            if login := self.headers.get("Authorization"):
                hub.tokens.append(login)
            if (asked := self.headers.get("Range")) and hub.knows_ranges:
                hub.ranges.append(asked)
                first, _, last = asked.removeprefix("bytes=").partition("-")
                start = int(first)
                content = content[: int(last) + 1] if last else content
        self.send_response(206 if start else 200)
        self.send_header("X-Repo-Commit", commit)
        self.send_header("ETag", etag)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        if body:
            self._send(content[start:], start)

    def _send(self, content: bytes, start: int) -> None:
        hub = self.server
        if hub.garble:
            content = bytes(reversed(content))
        if hub.stall_at is not None and len(content) + start > hub.stall_at:
            self.wfile.write(content[: max(0, hub.stall_at - start)])
            self.wfile.flush()
            while hub.stall_at is not None:
                time.sleep(0.05)
            self.close_connection = True
            return
        sent = 0
        while sent < len(content):
            held = hub.hold_at  # another thread may change it
            most = 2**20 if held is None else min(2**20, held - start - sent)
            if most <= 0:
                time.sleep(0.05)
                continue
            time.sleep(hub.pause)
            self.wfile.write(content[sent : sent + most])
            sent += most

    def _empty(self, status: int, *headers: tuple[str, str]) -> None:
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *arguments: object) -> None:
        """Log nothing."""
