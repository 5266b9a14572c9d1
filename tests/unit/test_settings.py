# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Settings: defaults, and mistakes that are all named at once."""

from __future__ import annotations

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
    text = (PROJECT / "config" / "models.toml").read_text()
    table.write_text(text.replace('key = "small"', 'key = "tiny"'))
    settings = load_settings({"MODELS_FILE": str(table), "DEPTH_MODEL": "tiny"})
    assert settings.table().keys("depth") == ["tiny", "base", "large", "builtin-depth"]
    with pytest.raises(SettingsError, match="DEPTH_MODEL='small': allowed: tiny, base, large"):
        load_settings({"MODELS_FILE": str(table)})


@pytest.mark.parametrize("content", ["[[model]", '[[model]]\nkey = "a"', "x = 1"])
def test_a_broken_table_is_named(tmp_path: Path, content: str) -> None:
    table = tmp_path / "models.toml"
    table.write_text(content)
    with pytest.raises(SettingsError, match="MODELS_FILE"):
        load_settings({"MODELS_FILE": str(table)})


def test_gunicorn_stops_with_the_list_and_no_traceback() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "gunicorn"],
        cwd=PROJECT,
        env={"PATH": "", "DEVICE": "gpu", "LOG_LEVEL": "LOUD"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 78
    assert "DEVICE='gpu'" in done.stderr
    assert "LOG_LEVEL='LOUD'" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_reload_sees_the_environment_of_the_operator(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The service sets HF_HUB_OFFLINE for its own libraries; that is no setting."""
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
