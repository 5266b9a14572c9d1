# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests that a lack of disk or memory is answered with 503 and the reason, and a bug with 500."""

from __future__ import annotations

import errno

import pytest
from flask import Flask

from app.blueprints import exchange


@pytest.mark.parametrize(
    ("error", "status", "reason"),
    [
        (OSError(errno.ENOSPC, "no"), 503, "full"),
        (OSError(errno.EDQUOT, "no"), 503, "full"),
        (OSError(errno.EMFILE, "no"), 503, "open"),
        (OSError(errno.ENOMEM, "no"), 503, "memory"),
        (MemoryError(), 503, "memory"),
        (OSError(errno.EIO, "/secret"), 500, "log"),
        (ValueError("secret"), 500, "log"),
    ],
)
def test_what_a_client_is_told(error: Exception, status: int, reason: str) -> None:
    app = Flask("here")
    exchange.install(app)

    @app.get("/")
    def fail() -> str:
        raise error

    answer = app.test_client().get("/")
    body = answer.get_json()
    assert answer.status_code == status
    assert reason in body["message"]
    assert "secret" not in answer.text
    assert ("Retry-After" in answer.headers) == (status == 503)
