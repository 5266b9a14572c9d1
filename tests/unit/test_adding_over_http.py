# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests ``POST /api/models`` in this process: what it adds, and what it refuses."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from pydantic import SecretStr

from app.adding import additions, rows
from app.blueprints.application import create_app
from app.hub.store import BUILTIN
from app.runtime import Runtime
from config.settings import Settings
from tests.fake_hub import FakeHub
from tests.process.caches import MINE, publish_depth

DEPTH = BUILTIN / "builtin-depth"


@pytest.fixture
def fake_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    publish_depth(tmp_path / "published")
    with FakeHub(tmp_path / "published").running() as running:
        monkeypatch.setenv("HF_ENDPOINT", running.endpoint)
        yield running


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Callable[..., FlaskClient]]:
    """Yield a function that makes a client of an app with some settings."""
    with ExitStack() as stack:

        def start(**settings: Any) -> FlaskClient:
            chosen = Settings(hf_hub_cache=tmp_path / "cache", **settings)
            runtime = Runtime(chosen)
            stack.callback(runtime.close)
            return create_app(chosen, runtime).test_client()

        yield start


def add(
    client: FlaskClient, status: int, key: str = "mine", source: str = MINE, **more: Any
) -> Any:
    """Send the request; return the answer, or the message of an error."""
    answer = client.post("/api/models", json={"key": key, "source": source, **more})
    assert answer.status_code == status, answer.text
    body = answer.get_json()
    return body["message"] if status != 202 else body


def written(path: Path) -> dict[str, Any]:
    return {row["key"]: row for row in tomllib.loads(path.read_text())["model"]}


@pytest.mark.usefixtures("fake_hub")
def test_it_adds_and_refuses(
    started: Callable[..., FlaskClient], tmp_path: Path, fake_hub: FakeHub
) -> None:
    client, path = started(), tmp_path / "cache" / "twinlens-models.toml"
    answer = add(client, 202, source=f"https://huggingface.co/{MINE}/tree/main", name="My depth")
    message = answer.pop("message")
    assert "when the service is started again" in message, "there is no master here"
    assert "does not permit commercial use" in message
    assert answer == {
        "success": True,
        "key": "mine",
        "family": "depth_anything",
        "license": "CC-BY-NC-4.0",
    }
    assert written(path)["mine"]["name"] == "My depth"
    assert written(path)["mine"]["hub_id"] == MINE
    assert "mine already" in add(client, 400)
    publish_depth(fake_hub.cache, "me/other", model_type="unheard-of")
    told = add(client, 400, "other", "me/other")
    assert "me/other cannot be used" in told
    assert "unheard-of" in told
    assert "does not know this repository" in add(client, 400, "other", "no/body")
    fake_hub.refuse = 99
    told = add(client, 503, "other")
    assert "the hub answered 503. Try again later" in told
    assert list(written(path)) == ["mine"]


def test_what_is_refused_at_once(
    started: Callable[..., FlaskClient], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(started(service_api_key=SecretStr("x" * 20)), 401)
    client = started()
    for key in ("a/b", "..", "", "ü", "current"):
        assert "key: " in add(client, 400, key)
    for source in (str(DEPTH), ".", "./mine", "../mine", "~/x", "a/..", "nothing", "file:///a/b"):
        assert "only the command line" in add(client, 400, source=source)
    assert "choose another key" in add(client, 400, "small")
    add(client, 422, "k" * 65)
    add(client, 422, source="o/" + "n" * 2000)
    add(client, 422, name="two\nlines")
    assert client.post("/api/models", json={"key": "mine"}).status_code == 422
    assert client.post("/api/models", data="{}").status_code == 415
    add(client, 413, more="x" * 20_000)
    monkeypatch.setattr(additions, "MOST_ROWS", 1)
    path = tmp_path / "cache" / "twinlens-models.toml"
    rows.put(path, {"key": "a", "family": "open_clip", "hub_id": "a/a"})
    assert "at most 1 may be" in add(client, 400)
    path.write_text("[[model]]\n")
    assert str(tmp_path) not in add(client, 503)


def test_offline_it_says_what_to_do(started: Callable[..., FlaskClient]) -> None:
    assert "HF_HUB_OFFLINE is set" in add(started(hf_hub_offline=True), 503)


@pytest.mark.usefixtures("fake_hub")
def test_a_table_that_cannot_be_written(
    started: Callable[..., FlaskClient], tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    client = started()
    own = client.application.extensions["twinlens"].additions
    own._settings = own._settings.model_copy(update={"models_file": None})
    (tmp_path / "cache").mkdir()
    # A folder takes the file's place, because tests may run as root.
    (tmp_path / "cache" / "twinlens-models.toml").mkdir()
    told = add(client, 503)
    assert "Is a directory" in told
    assert str(tmp_path) not in told


@pytest.mark.usefixtures("fake_hub")
def test_a_hub_that_does_not_answer_in_time(
    started: Callable[..., FlaskClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(additions, "SECONDS", 0.0)
    assert "within 0 seconds" in add(started(), 503)
