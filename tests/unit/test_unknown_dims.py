# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests requests for a number of dimensions of a model that is not on disk.

Its row does not say how many its vectors have, so nobody knows before the download.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from app.blueprints.application import create_app
from app.runtime import Runtime
from config.settings import Settings

ROW = '[[model]]\nkey = "mine"\nfamily = "open_clip"\nhub_id = "owner/name"\n'
OPENAI = {"input": "a cat", "dimensions": 512}
COHERE = {"texts": ["a cat"], "output_dimension": 512}


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Flask]:
    """Yield the app for pytest-flask's ``client``. No download runs, because nothing is started."""
    table = tmp_path / "models.toml"
    table.write_text(ROW)
    settings = Settings(hf_hub_cache=tmp_path, models_file=table, enabled_families=("embedding",))
    runtime = Runtime(settings)
    try:
        yield create_app(settings, runtime)
    finally:
        runtime.close()


@pytest.mark.parametrize(("path", "body"), [("/v1/embeddings", OPENAI), ("/v2/embed", COHERE)])
def test_the_download_begins(client: FlaskClient, path: str, body: dict[str, Any]) -> None:
    def state() -> str:
        answer: Any = client.get("/api/models/mine").get_json()
        return str(answer["state"])

    assert state() == "not_loaded"
    answer: Any = client.post(path, json=body | {"model": "mine"})
    assert answer.status_code == 503
    assert "Retry-After" in answer.headers
    assert answer.get_json()["code"] == "model_downloading"
    assert state() == "downloading"
