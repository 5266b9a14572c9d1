# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests which family a checkpoint belongs to, that no row is lost, and what no row can hold."""

from __future__ import annotations

import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from app.adding import rows
from app.cli.main import main
from config.families import FAMILIES, family_class


@pytest.mark.parametrize(
    ("file", "content", "family"),
    [
        ("config.json", {"model_type": "siglip"}, "transformers"),
        ("config.json", {"model_type": "zoedepth"}, "transformers_depth"),
        ("config.json", {"model_name": "da3-small"}, "depth_anything_3"),
        ("config.json", {"model_type": "depth_anything"}, "depth_anything"),
        ("open_clip_config.json", {"model_cfg": {}}, "open_clip"),
    ],
)
def test_each_family_recognises_its_own(file: str, content: dict[str, Any], family: str) -> None:
    files = {file: content}
    assert [name for name in FAMILIES if family_class(name).recognises(files)] == [family]


def test_rows_that_are_added_at_once_are_all_there(tmp_path: Path) -> None:
    path = tmp_path / "new" / "rows.toml"

    def put(number: int) -> None:
        rows.put(path, {"key": f"m{number}", "family": "open_clip", "path": "/a"})

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(put, range(24)))
    assert len(tomllib.loads(path.read_text())["model"]) == 24


def test_the_current_folder_need_not_be_utf_8(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A repository of the hub has nothing to do with it."""
    odd = tmp_path / "a\udcff"
    odd.mkdir()
    monkeypatch.chdir(odd)
    assert main(["models", "add", "x", "no repository"]) == 2
    assert "give a repository of the hub" in capsys.readouterr().err
    assert main(["models", "add", "x", "./own"]) == 2
    assert "is not UTF-8" in capsys.readouterr().err
