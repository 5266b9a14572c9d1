# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests the codes of errors: docs/api.md lists them all, and each error has one that fits."""

from __future__ import annotations

import ast
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest

from app import errors
from app.blueprints.application import create_app
from app.errors import CODE_OF_TITLE, BadRequest, Code, NotAvailable, TooLarge, TwinlensError
from app.runtime import Runtime
from benchmarks.service import PROJECT
from config.settings import Settings
from tests.pictures import encoded, picture

CODES = set(get_args(Code))
PHOTO = encoded(picture(64, 48))


def documented() -> list[str]:
    """Return the codes in the table of docs/api.md, in its order."""
    text = (PROJECT / "docs" / "api.md").read_text()
    section = text.partition("\n## Errors\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| [\d, ]*\| (.+?) \|", section, re.MULTILINE)
    return [code for row in rows for code in re.findall(r"`(\w+)`", row)]


def constants(name: str) -> Iterator[str]:
    """Yield every text that the program passes as the argument ``name``."""
    for path in (PROJECT / "app").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                for argument in node.keywords:
                    if argument.arg == name and isinstance(argument.value, ast.Constant):
                        yield str(argument.value.value)


def test_the_reference_lists_every_code_once() -> None:
    assert sorted(documented()) == sorted(CODES)


def test_titles_have_codes() -> None:
    kinds = [each for each in vars(errors).values() if isinstance(each, type)]
    titles = {each.title for each in kinds if issubclass(each, TwinlensError)}
    # Other calls have an argument ``title``, too: each of these is a title of something else.
    others = {"Twinlens"}
    named = set(constants("title")) - others
    assert named <= CODE_OF_TITLE.keys() | titles
    assert set(CODE_OF_TITLE.values()) <= CODES


def test_every_code_is_used() -> None:
    classes = {each.code for each in vars(errors).values() if hasattr(each, "code")}
    given = set(constants("code")) | classes | set(CODE_OF_TITLE.values())
    text = "".join(path.read_text() for path in (PROJECT / "app").rglob("*.py"))
    text += (PROJECT / "config" / "nginx.conf").read_text()
    # Each stands in the list of all codes, and in at least one place where it is used.
    assert not {code for code in CODES - given if text.count(f'"{code}"') < 2}


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (BadRequest("odd"), "bad_request"),
        (BadRequest("odd", title="Invalid image"), "invalid_image"),
        (TooLarge("wide", code="image_too_large"), "image_too_large"),
        (NotAvailable("no"), "model_unavailable"),
    ],
)
def test_what_decides_the_code(error: TwinlensError, code: str) -> None:
    assert error.body()["code"] == code


def ask(settings: Settings) -> tuple[int, dict[str, str], str | None]:
    """Ask a service for a depth map; return status, body and Retry-After."""
    runtime = Runtime(settings)
    runtime.start()
    try:
        client = create_app(settings, runtime).test_client()
        answer = client.post("/api/depth", data={"image": (io.BytesIO(PHOTO), "a.png")})
        return answer.status_code, answer.get_json(), answer.headers.get("Retry-After")
    finally:
        runtime.close()


def test_weights_that_nobody_will_bring(tmp_path: Path) -> None:
    status, body, retry = ask(Settings(hf_hub_cache=tmp_path, hf_hub_offline=True))
    assert (status, body["code"], retry) == (503, "model_not_on_disk", None)
    assert (body["error"], body["message"]) == (
        "Model not initialized",
        "Depth estimation model is not available",
    )
    assert "HF_HUB_OFFLINE" in body["reason"]


def test_weights_that_are_on_their_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The download process must not run here; without it, the state is that of a running download.
    monkeypatch.setattr("app.hub.downloads.Downloads._start_process", lambda _: None)
    monkeypatch.setattr("app.hub.downloads.Downloads._process_is_alive", lambda _: True)
    status, body, retry = ask(Settings(hf_hub_cache=tmp_path, hf_hub_offline=False))
    assert (status, body["code"]) == (503, "model_downloading")
    assert retry is not None
    assert "downloading" in body["reason"]
