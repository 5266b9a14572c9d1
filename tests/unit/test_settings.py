# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests the defaults of the settings, and that one error names all mistakes."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.service import PROJECT
from config import running
from config.settings import SettingsError, load_settings


def test_defaults_are_those_of_the_replaced_services() -> None:
    settings = load_settings({})
    assert (settings.ai_service_port, settings.image_embedder_port) == (5000, 8000)
    assert (settings.depth_model, settings.default_model) == ("small", "ViT-L-14")
    assert settings.image_embedder_concurrency == 1
    assert settings.inference_timeout_seconds == 300


def test_every_bad_value_is_named_with_what_is_allowed() -> None:
    bad = {
        "AI_SERVICE_PORT": "http",
        "DEVICE": "gpu",
        "WARMUP_ON_STARTUP": "perhaps",
        "DEPTH_MODEL": "huge",
        "ENABLED_FAMILIES": "depth,sound",
        "LOG_LEVEL": "LOUD",
    }
    with pytest.raises(SettingsError) as error:
        load_settings(bad)
    text = str(error.value)
    for name, value in bad.items():
        assert name in text
        assert value.split(",")[-1] in text
    assert "small, base, large" in text
    assert "cuda:N" in text


def test_an_empty_value_counts_as_not_set() -> None:
    assert load_settings({"AI_SERVICE_PORT": "", "DEVICE": ""}) == load_settings({})


@pytest.mark.parametrize(
    ("text", "families"), [("depth", ("depth",)), (" depth , embedding ", ("depth", "embedding"))]
)
def test_lists_are_separated_by_commas(text: str, families: tuple[str, ...]) -> None:
    assert load_settings({"ENABLED_FAMILIES": text}).enabled_families == families


def test_a_table_of_models_of_ones_own(tmp_path: Path) -> None:
    table = tmp_path / "models.toml"
    table.write_text(
        '[[model]]\nkey = "tiny"\nfamily = "depth_anything"\npath = "/models/tiny"\n'
        '[[model]]\nkey = "small"\nfamily = "depth_anything"\nhub_id = "me/mine"\n'
    )
    settings = load_settings({"MODELS_FILE": str(table), "DEPTH_MODEL": "tiny"})
    rows = {spec.key: spec for spec in settings.table().model}
    keys = settings.table().keys("depth")
    assert keys[:3] == ["small", "base", "large"]
    assert keys[-1] == "tiny"
    assert rows["small"].hub_id == "me/mine", "a row replaces the built-in one with its key"
    assert rows["ViT-L-14"].dims == 768, "the others stay"
    with pytest.raises(
        SettingsError, match=r"'large-2' \(did you mean large\?\): allowed: small, base"
    ):
        load_settings({"MODELS_FILE": str(table), "DEPTH_MODEL": "large-2"})


@pytest.mark.parametrize(
    ("content", "lines"),
    [
        ("[[model]", ["not TOML: .*"]),
        ("x = 1", ["x: a table of models has only rows; each row begins with .*"]),
        ('[[model]]\nkey = "a"', ["model 'a': family is missing; allowed: depth_anything, .*"]),
        ('[model]\nkey = "a"', [r"model: each row begins with a line \[\[model\]\], with two .*"]),
        ("model = [1]", ["row 1: it is no table; each row begins with .*"]),
        (
            '[[model]]\nkey = "a"\nfamily = "open_clip"\nactivation = "relu"\ndims = 1.5\n'
            'image_size = -1\nsha256 = "12"\nmetric = "perhaps"\nname = 3\npath = 1\n'
            'hub_id = "x"\nrevison = "main"\nrevision = "a b"',
            [
                "model 'a': hub_id='x': allowed: a repository of the hub as \"OWNER/NAME\"",
                "model 'a': path=1: allowed: the absolute path .*",
                "model 'a': revision='a b': allowed: a branch, tag or commit .*",
                "model 'a': sha256='12': allowed: 64 .*",
                "model 'a': name=3: allowed: text .*",
                "model 'a': dims=1.5: allowed: a whole number above 0, .*",
                "model 'a': image_size=-1: allowed: a whole number above 0, .*",
                "model 'a': activation='relu': allowed: gelu, quick_gelu",
                "model 'a': metric='perhaps': allowed: true, false",
                r"model 'a': revison='main': a row has no such key \(did you mean revision\?\); .*",
            ],
        ),
        (
            '[[model]]\nkey = "a b"\nfamily = "sonar"\nsize = 3\nhub_id = "x/y"\n'
            '[[model]]\nfamily = "open_clip"',
            [
                "model 'a b': key='a b': allowed: up to 64 letters, .*",
                "model 'a b': family='sonar': allowed: depth_anything, .*open_clip.*",
                "model 'a b': size=3: a row has no such key; allowed: key, family, .*",
                "row 2: key is missing; allowed: up to 64 letters, .*",
            ],
        ),
        (
            '[[model]]\nkey = "a"\nfamily = "open_clip"\npath = "/a"\nhub_id = "x/y"',
            ["model 'a': give hub_id or path, not both"],
        ),
        (
            '[[model]]\nkey = "a"\nfamily = "open_clip"\npath = "a"',
            ["model 'a': path must be absolute"],
        ),
    ],
)
def test_mistakes_in_the_table_are_told_a_line_each(
    tmp_path: Path, content: str, lines: list[str]
) -> None:
    table = tmp_path / "models.toml"
    table.write_text(content)
    with pytest.raises(SettingsError) as error:
        load_settings({"MODELS_FILE": str(table)})
    told = str(error.value).splitlines()
    assert len(told) == len(lines)
    for line, wanted in zip(told, lines, strict=True):
        assert re.fullmatch(rf"  MODELS_FILE='{re.escape(str(table))}': {wanted}", line)
    assert not re.search(r"pydantic|pattern|[Ii]nput|[Ff]ield", str(error.value))


def test_gunicorn_stops_with_the_list_and_no_traceback() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "gunicorn"],
        cwd=PROJECT,
        env={"PATH": "", "DEVICE": "gpu", "LOG_LEVEL": "LOUD"},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 78
    assert "DEVICE='gpu'" in done.stderr
    assert "LOG_LEVEL='LOUD'" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_reload_sees_the_environment_of_the_operator(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The service sets HF_HUB_OFFLINE for its libraries; a reload must not read it as a setting."""
    config = tmp_path / "a.toml"
    config.write_text("MODEL_IDLE_SECONDS = 1\n")
    monkeypatch.setattr(running, "_in_force", None)
    monkeypatch.setattr(running, "_environ", {})
    monkeypatch.setenv("CONFIG_FILE", str(config))
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    assert running.settings_in_force().model_idle_seconds == 1
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    config.write_text("MODEL_IDLE_SECONDS = 2\nWEB_CONCURRENCY = 7\n")
    fresh = running.settings_in_force(reload=True)
    assert (fresh.model_idle_seconds, fresh.hf_hub_offline, fresh.web_concurrency) == (2, False, 1)
    config.write_text("MODEL_IDLE_SECONDS = -1\n")
    assert running.settings_in_force(reload=True) is fresh


def test_a_folder_for_jobs_that_cannot_be_written_stops_the_start(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(SettingsError, match=r"JOBS_FOLDER='.*file/jobs': cannot be written"):
        load_settings({"JOBS_FOLDER": str(file / "jobs")})
    assert load_settings({"JOBS_FOLDER": str(tmp_path / "jobs")}).jobs_folder == tmp_path / "jobs"
