# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Functions with which the contract tests check answers."""

from __future__ import annotations

import io
from typing import Any, get_args

import numpy as np
import requests
from numpy.typing import NDArray
from PIL import Image

from app.errors import Code


def error(response: requests.Response, status: int, title: str | None = None) -> str:
    """Check that an answer is an error in the common format, and return its message."""
    assert response.status_code == status, response.text
    assert response.headers["Content-Type"].startswith("application/json")
    body = response.json()
    assert {"error", "message", "detail", "code"} <= set(body)
    assert body["message"] == body["detail"] != ""
    if title is not None:
        assert body["error"] == title
    assert body["code"] in get_args(Code)
    if status == 503:
        assert body["reason"]
    assert response.headers["X-Request-ID"]
    return str(body["message"])


def depth_map(response: requests.Response) -> NDArray[np.uint8]:
    """Check that an answer is a depth map, and return its pixels."""
    assert response.status_code == 200, response.text
    assert response.headers["Content-Type"] == "image/png"
    image = Image.open(io.BytesIO(response.content))
    assert (image.format, image.mode) == ("PNG", "L")
    return np.asarray(image)


def json(response: requests.Response) -> Any:
    """Check that an answer is a success with JSON, and return the parsed JSON."""
    assert response.status_code == 200, response.text
    assert response.headers["Content-Type"] == "application/json"
    return response.json()
