# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests that each route that embeds waits in the same room as all others."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from app.blueprints.application import create_app
from app.runtime import Runtime
from config.settings import Settings
from tests.services import PHOTO

# A decoded image of a refused request is closed when it is collected, which makes a warning.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

IMAGE = base64.b64encode(PHOTO).decode()
ENTRIES = json.dumps({"clip": {"visual": {"modelName": "ViT-B-16__openai"}}})
#: a body for each route, as keyword arguments of ``post``
BODIES: dict[str, Any] = {
    "/embed-image": {"json": {"image_base64": IMAGE}},
    "/embed-text": {"json": {"text": "a cat"}},
    "/v1/embeddings": {"json": {"input": [{"image": IMAGE}]}},
    "/v2/embed": {"json": {"images": [IMAGE]}},
    "/similarity": {"json": {"inputs": [{"text": "a cat"}]}},
    "/classify": {"json": {"image_base64": IMAGE, "labels": ["a", "b"]}},
    "/predict": {"data": {"entries": ENTRIES, "image": (PHOTO, "blob")}},
}


@pytest.fixture(scope="module")
def app(hub: Path) -> Iterator[Flask]:
    """Yield an app in whose waiting room only one request may be."""
    runtime = Runtime(
        Settings(
            hf_hub_cache=hub,
            hf_hub_offline=True,
            image_embedder_max_queue=1,
            embed_cache_size=0,  # what the cache knows does not wait
            default_model="ViT-B-16",
        )
    )
    runtime.start()
    yield create_app(runtime.settings, runtime)
    runtime.close()


def post(client: FlaskClient, path: str) -> Any:
    body = dict(BODIES[path])
    if "data" in body:
        body["data"] = {**body["data"], "image": (io.BytesIO(PHOTO), "blob")}
    return client.post(path, **body)


@pytest.mark.parametrize("path", BODIES)
def test_a_full_waiting_room_refuses(client: FlaskClient, app: Flask, path: str) -> None:
    runtime: Runtime = app.extensions["twinlens"]
    with ExitStack() as others:
        for _ in range(2):  # one has the device, one waits
            others.enter_context(runtime.waiting_room.enter("", 1, lambda: False))
        answer = post(client, path)
        assert answer.status_code == 429, answer.get_data(as_text=True)
        assert answer.headers["Retry-After"]
    answer = post(client, path)
    assert answer.status_code == 200, answer.get_data(as_text=True)
    assert answer.headers["X-Queue-Max-Queue"] == "1"
    assert answer.headers["X-Model-Revision"]
