# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests the promises of docs/contracts.md under "Authentication" and "Settings"."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import requests

from benchmarks.service import PROJECT, Service
from config.settings import Settings, SettingsError, load_settings
from tests.contract import check
from tests.services import PHOTO

KEY = "correct horse battery staple"
ORIGIN = "https://classifarr.example"


@pytest.fixture(scope="module")
def guarded(start: Callable[..., Service], hub: Path) -> Service:
    """Start a service with a key, CORS for one origin and only one family enabled.

    One service is enough for all three, because these settings do not affect each other.
    """
    return start(
        HF_HUB_CACHE=hub,
        SERVICE_API_KEY=KEY,
        REQUIRE_API_KEY="true",
        CORS_ALLOWED_ORIGINS=ORIGIN,
        ENABLED_FAMILIES="depth",
    )


PUBLIC = ["/", "/health", "/ready", "/docs", "/openapi.json", "/docs/swagger-ui.js"]
GUARDED = [
    "/models",
    "/api/models",
    "/api/models/current",
    "/api/models/small",
    "/metrics",
    "/nothing",
]


@pytest.mark.parametrize("path", PUBLIC)
def test_probes_and_pages_without_data_are_public(guarded: Service, path: str) -> None:
    assert guarded.get(path).status_code == 200


@pytest.mark.parametrize("path", GUARDED)
def test_everything_else_needs_the_key(guarded: Service, path: str) -> None:
    for headers in (
        {},
        {"X-Api-Key": "wrong"},
        {"X-Api-Key": ""},
        {"Authorization": "Bearer wrong"},
        {"Authorization": f"Basic {KEY}"},
        {"X-Api-Key": "ü".encode().decode("latin-1")},
    ):
        check.error(guarded.get(path, headers=headers), 401, "Unauthorized")
    for headers in ({"X-Api-Key": KEY}, {"Authorization": f"Bearer {KEY}"}):
        assert guarded.get(path, headers=headers).status_code in (200, 404)


def test_posts_need_the_key(guarded: Service) -> None:
    files = {"image": ("a.png", PHOTO)}
    check.error(guarded.post("/api/depth", files=files), 401)
    check.error(guarded.post("/admin/cleanup"), 401)
    check.depth_map(guarded.post("/api/depth", files=files, headers={"X-Api-Key": KEY}))


def test_the_key_is_never_logged(guarded: Service) -> None:
    guarded.get("/models", headers={"X-Api-Key": KEY})
    assert KEY not in guarded.text()


def test_a_family_that_is_off_names_the_setting(guarded: Service) -> None:
    headers = {"X-Api-Key": KEY}
    message = check.error(guarded.get("/models", headers=headers), 404)
    assert "ENABLED_FAMILIES" in message
    check.error(guarded.post("/embed-image", json={}, headers=headers), 404)
    check.error(guarded.post("/api/models/ViT-L-14/load", headers=headers), 400, "Unknown model")
    ready = check.json(guarded.get("/ready"))
    assert ready["default_model"] == "small", "with the embedding family off DEPTH_MODEL counts"


def test_preflight_and_the_answer_to_a_page(guarded: Service) -> None:
    for path in ("/api/depth", "/embed-image", "/api/models/small", "/models"):
        asked = requests.options(
            guarded.url(path),
            headers={
                "Origin": ORIGIN,
                "Access-Control-Request-Method": "POST",
                "Access-Control-Request-Headers": "content-type,x-api-key",
            },
            timeout=240,
        )
        assert asked.status_code == 200
        assert asked.headers["Access-Control-Allow-Origin"] == ORIGIN
        assert "POST" in asked.headers["Access-Control-Allow-Methods"]
        assert "x-api-key" in asked.headers["Access-Control-Allow-Headers"].lower()
    headers = {"Origin": ORIGIN, "X-Api-Key": KEY}
    answer = guarded.post("/api/depth", files={"image": ("a.png", PHOTO)}, headers=headers)
    assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN
    exposed = {name.strip() for name in answer.headers["Access-Control-Expose-Headers"].split(",")}
    assert exposed >= {"X-Model-Used", "X-Request-ID", "Content-Disposition"}
    assert exposed >= {"X-Model-Revision", "X-Preprocess-Version", "X-Depth-Min", "X-Depth-Max"}


def test_another_page_gets_no_permission(guarded: Service, service: Service) -> None:
    other = guarded.get("/health", headers={"Origin": "https://evil.example"})
    assert "Access-Control-Allow-Origin" not in other.headers
    none = service.get("/health", headers={"Origin": ORIGIN})
    assert "Access-Control-Allow-Origin" not in none.headers


def test_a_required_key_that_is_missing_stops_the_start() -> None:
    with pytest.raises(SettingsError, match="REQUIRE_API_KEY=true, but SERVICE_API_KEY is not set"):
        load_settings({"REQUIRE_API_KEY": "true"})


def test_the_file_and_the_environment(tmp_path: Path) -> None:
    file = tmp_path / "twinlens.toml"
    file.write_text('AI_SERVICE_PORT = 5001\nDEPTH_MODEL = "base"\nENABLED_FAMILIES = ["depth"]\n')
    settings = load_settings({"CONFIG_FILE": str(file), "DEPTH_MODEL": "large"})
    assert (settings.ai_service_port, settings.depth_model) == (5001, "large")
    assert settings.enabled_families == ("depth",)
    file.write_text('PORT = 1\nDEVICE = "gpu"\nSERVICE_API_KEY = 12345\n')
    with pytest.raises(SettingsError) as error:
        load_settings({"CONFIG_FILE": str(file), "LOG_LEVEL": "LOUD"})
    for part in ("PORT: CONFIG_FILE has a setting", "DEVICE='gpu'", "LOG_LEVEL='LOUD'"):
        assert part in str(error.value)
    assert "12345" not in str(error.value)
    for broken in ("x = ", None):
        file.write_text(broken) if broken else file.unlink()
        with pytest.raises(SettingsError, match="CONFIG_FILE"):
            load_settings({"CONFIG_FILE": str(file)})


def test_an_empty_key_is_no_key(tmp_path: Path) -> None:
    file = tmp_path / "twinlens.toml"
    file.write_text('SERVICE_API_KEY = ""\nREQUIRE_API_KEY = true\n')
    with pytest.raises(SettingsError, match="SERVICE_API_KEY is not set"):
        load_settings({"CONFIG_FILE": str(file)})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CORS_ALLOWED_ORIGINS", "https://*.example.org"),
        ("CORS_ALLOWED_ORIGINS", "example.org"),
        ("CORS_ALLOWED_ORIGINS", "https://example.org/"),
        ("ALLOWED_PRIVATE_NETWORKS", "nonsense"),
        ("ALLOWED_PRIVATE_NETWORKS", "192.168.1.5/24"),
        ("LOG_FILE", "/no/such/folder/log"),
        ("LOG_FILE", "/tmp"),
        ("IMAGE_EMBEDDER_MAX_WAIT_SECONDS", "inf"),
    ],
)
def test_values_that_would_fail_later_fail_at_once(name: str, value: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=name):
        load_settings({name: value})
    file = tmp_path / "twinlens.toml"
    is_list = name.startswith(("CORS", "ALLOWED"))
    file.write_text(f'{name} = ["{value}"]' if is_list else f'{name} = "{value}"')
    with pytest.raises(SettingsError, match=name):
        load_settings({"CONFIG_FILE": str(file)})


def test_the_effective_settings_are_printed_with_the_key_masked() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "config.settings"],
        cwd=PROJECT,
        env={"SERVICE_API_KEY": KEY, "AI_SERVICE_PORT": "5005"},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert "AI_SERVICE_PORT=5005" in done.stdout
    assert "SERVICE_API_KEY=**********" in done.stdout
    assert KEY not in done.stdout


def documented(text: str) -> set[str]:
    """Return the names of settings in the first column of the tables in a Markdown text."""
    return set(re.findall(r"^\| `([A-Z][A-Z_]+)` \|", text, flags=re.MULTILINE))


def test_the_page_of_settings_and_the_settings_name_the_same() -> None:
    page = (PROJECT / "docs" / "settings.md").read_text()
    assert documented(page) == {name.upper() for name in Settings.model_fields}
    for name, field in Settings.model_fields.items():
        assert f"| {field.description} |" in page, name
        if isinstance(field.default, bool | int | float):
            assert f"| `{name.upper()}` | {field.default} |".lower() in page.lower(), name


def test_the_contract_names_no_setting_that_does_not_exist() -> None:
    """The section "Settings" of docs/contracts.md names all settings and nothing else."""
    text = (PROJECT / "docs" / "contracts.md").read_text().split("## Settings")[1]
    names = set(re.findall(r"`([A-Z][A-Z_]{4,})`", text))
    assert names == {name.upper() for name in Settings.model_fields}
