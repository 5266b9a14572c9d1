# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests which threads answer a request: no long answer may take the few threads of the pages."""

from __future__ import annotations

import pytest

from app.server.heads import kind

REST = " HTTP/1.1\r\nHost: x\r\nAccept: */*\r\n\r\n"


def of(line: str, rest: str = REST) -> str:
    return kind((line + rest).encode())


@pytest.mark.parametrize("path", ["/health", "/ready", "/ready?verbose=1"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_probes(method: str, path: str) -> None:
    assert of(f"{method} {path}") == "probe"


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/ui/example.jpg",
        "/docs",
        "/api/models?type=all",
        "/api/jobs/abc_-1",
        "/models?a=result%20",
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_pages(method: str, path: str) -> None:
    assert of(f"{method} {path}") == "page"


@pytest.mark.parametrize(
    "path",
    [
        "/api/jobs/abc/result",
        "/api/jobs/abc/result?x=1",
        "//api///jobs//abc//result",
        "/api/jobs/abc/resul%74",
        "/%61pi/jobs/abc/result",
        "http://x/api/jobs/abc/result",
        "http://x/ui/example.jpg",
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_results_of_jobs_in_every_spelling_are_no_pages(method: str, path: str) -> None:
    assert of(f"{method} {path}") == "other"


@pytest.mark.parametrize(
    ("line", "rest"),
    [
        ("POST /api/depth", REST),
        ("DELETE /api/jobs/abc", REST),
        ("GET /docs", " HTTP/1.1\r\nHost: x\r\n"),
        ("GET /docs", " HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n"),
        ("GET /health", " HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n\r\n"),
    ],
)
def test_requests_that_may_wait_for_their_client_are_no_pages(line: str, rest: str) -> None:
    assert of(line, rest) == "other"
