# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests that settings of the replaced services work here, and that invalid ones are named."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.service import PROJECT
from config import names
from config.settings import Settings, SettingsError, load_settings, warnings

# This is a config.toml of the replaced image embedder.
SECTIONED = """
[server]
host = "127.0.0.1"
port = 8123
shutdown_timeout_seconds = 31
[model]
default_model = "ViT-B-16"
device = "openvino:cpu"
warmup_on_startup = false
embed_cache_size = 1000
[image]
allow_remote_urls = true
allowed_remote_hosts = ["image.tmdb.org"]
max_image_bytes = 10485761
request_timeout_seconds = 16
[queue]
concurrency = 2
max_queue = 101
max_wait_seconds = 0
batch_window_ms = 0
batch_max_size = 8
batch_api_max_items = 33
[logging]
level = "debug"
file = ""
json_format = true
max_bytes = 10485762
backup_count = 6
[memory]
cleanup_interval_seconds = 301
max_process_memory_mb = 1
max_gpu_memory_mb = 2
cleanup_on_shutdown = false
embed_cleanup_every_n = 0
[auth]
require_api_key = true
rate_limit_embed = "30/minute"
rate_limit_health = "120/minute"
"""


@pytest.mark.parametrize(
    ("name", "value", "meant"),
    [
        ("LOG_LEVEL", "debug", "DEBUG"),
        ("LOG_LEVEL", " Warning ", "WARNING"),
        ("LOG_LEVEL", "warn", "WARNING"),
        ("LOG_LEVEL", "fatal", "CRITICAL"),
        ("DEVICE", "CUDA", "cuda"),
        ("DEVICE", "Cuda:1", "cuda:1"),
        ("DEVICE", " cpu\n", "cpu"),
        ("DEVICE", "openvino:auto", "openvino:AUTO"),
        ("DEVICE", "OpenVINO:gpu.0", "openvino:GPU.0"),
        ("DEVICE", "OPENVINO", "openvino"),
        ("ENGINE", "Torch", "torch"),
        ("PRECISION", "FP16", "fp16"),
        ("ENABLED_FAMILIES", "Depth , EMBEDDING,", ("depth", "embedding")),
        ("SERVICE_API_KEY_FOR", "Embedding", "embedding"),
        ("IMAGE_EMBEDDER_MAX_WAIT_SECONDS", "0", 0),
        ("IMAGE_EMBEDDER_MAX_QUEUE", "0", 0),
        ("MEMORY_CLEANUP_INTERVAL_SECONDS", "0", 0),
        ("LOG_MAX_BYTES", "0", 0),
        ("LOG_BACKUP_COUNT", "0", 0),
        ("AI_SERVICE_PORT", " 5001 ", 5001),
        ("DEPTH_MODEL", "base ", "base"),
        ("DEFAULT_MODEL", "\tViT-B-16", "ViT-B-16"),
        ("MAX_IMAGE_BYTES", "10_485_760", 10485760),
        *(("ALLOW_REMOTE_IMAGE_URLS", yes, True) for yes in ("1", "true", "Yes", "y", "ON", " on")),
        *(("WARMUP_ON_STARTUP", no, False) for no in ("0", "False", "no", "N", "off")),
    ],
)
def test_a_value_as_the_replaced_services_take_it(name: str, value: str, meant: object) -> None:
    assert getattr(load_settings({name: value}), name.lower()) == meant


@pytest.mark.parametrize("name", [name.upper() for name in Settings.model_fields])
@pytest.mark.parametrize("value", ["", " "])
def test_empty_is_the_default(name: str, value: str) -> None:
    if name == "SERVICE_API_KEY" and value:
        return  # this is an error, as a test below checks
    assert load_settings({name: value}) == load_settings({})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DEVICE", "gpu"),
        ("DEVICE", "cuda:"),
        ("DEVICE", "openvino:NPU"),
        ("LOG_LEVEL", "LOUD"),
        ("IMAGE_EMBEDDER_MAX_WAIT_SECONDS", "-1"),
        ("IMAGE_EMBEDDER_CONCURRENCY", "0"),
        ("SERVICE_API_KEY_FOR", "splat"),
        ("WEB_CONCURRENCY", "two"),
    ],
)
def test_what_still_makes_no_sense(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=f"{name}='{value}'"):
        load_settings({name: value})


@pytest.mark.parametrize(
    "key", ["s3cret\n", "s3cret\r\n", " s3cret", "\ts3cret", "\u00a0s3cret", "   ", "\n"]
)
def test_a_key_with_blanks_around_it_stops_the_start(key: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"SERVICE_API_KEY=\(hidden\): it begins") as error:
        load_settings({"SERVICE_API_KEY": key})
    assert "s3cret" not in str(error.value)
    file = tmp_path / "twinlens.toml"
    file.write_text(f'SERVICE_API_KEY = """\n{key} """\n', newline="")
    with pytest.raises(SettingsError, match="SERVICE_API_KEY"):
        load_settings({"CONFIG_FILE": str(file)})


@pytest.mark.parametrize(
    "key", ["sec\nret", "sec\x00ret", "sec\x7fret", "sec\u200bret", "a\udcffb"]
)
def test_a_key_with_a_character_that_cannot_be_sent_stops_the_start(key: str) -> None:
    with pytest.raises(SettingsError, match=r"SERVICE_API_KEY=\(hidden\): it has a control"):
        load_settings({"SERVICE_API_KEY": key})


@pytest.mark.parametrize("key", ["correct horse battery staple", "schlüssel", "a", "s3cr3t=/+"])
def test_any_other_key_is_taken_as_it_is(key: str) -> None:
    given = load_settings({"SERVICE_API_KEY": key}).service_api_key
    assert given is not None
    assert given.get_secret_value() == key


def test_the_replaced_embedders_file_is_read(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    # Editors on Windows save a file with a byte order mark.
    file.write_text(SECTIONED, encoding="utf-8-sig")
    environ = {"CONFIG_FILE": str(file), "SERVICE_API_KEY": "key", "IMAGE_EMBEDDER_PORT": "8124"}
    settings = load_settings(environ)
    assert settings.image_embedder_port == 8124, "the environment wins"
    assert settings == load_settings(
        {
            "CONFIG_FILE": str(file),
            "SERVICE_API_KEY": "key",
            "IMAGE_EMBEDDER_HOST": "127.0.0.1",
            "IMAGE_EMBEDDER_PORT": "8124",
            "SHUTDOWN_TIMEOUT_SECONDS": "31",
            "DEFAULT_MODEL": "ViT-B-16",
            "DEVICE": "openvino:CPU",
            "WARMUP_ON_STARTUP": "false",
            "ALLOW_REMOTE_IMAGE_URLS": "true",
            "ALLOWED_REMOTE_IMAGE_HOSTS": "image.tmdb.org",
            "MAX_IMAGE_BYTES": "10485761",
            "REQUEST_TIMEOUT_SECONDS": "16",
            "IMAGE_EMBEDDER_CONCURRENCY": "2",
            "IMAGE_EMBEDDER_MAX_QUEUE": "101",
            "IMAGE_EMBEDDER_MAX_WAIT_SECONDS": "0",
            "EMBED_BATCH_API_MAX_ITEMS": "33",
            "LOG_LEVEL": "DEBUG",
            "LOG_JSON_FORMAT": "true",
            "LOG_MAX_BYTES": "10485762",
            "LOG_BACKUP_COUNT": "6",
            "MEMORY_CLEANUP_INTERVAL_SECONDS": "301",
            "MAX_PROCESS_MEMORY_MB": "1",
            "MAX_GPU_MEMORY_MB": "2",
            "CLEANUP_ON_SHUTDOWN": "false",
            "REQUIRE_API_KEY": "true",
        }
    )
    ignored = "\n".join(warnings(environ))
    for key in ("batch_window_ms", "batch_max_size", "embed_cleanup_every_n", "rate_limit_embed"):
        assert key in ignored


def test_the_page_for_those_who_migrate_names_every_key() -> None:
    page = (PROJECT / "docs" / "migrating.md").read_text()
    rows = re.findall(r"^\| `\[(\w+)\]` \| `(\w+)` \| (none: )?`([A-Z_]+)`", page, re.MULTILINE)
    assert {(section, key): name for section, key, _, name in rows} == {
        (section, key): name
        for section, keys in names.SECTIONS.items()
        for key, name in keys.items()
    }
    for _, key, none, name in rows:
        assert bool(none) == (name.lower() not in Settings.model_fields), key


def test_the_file_on_that_page_is_read(tmp_path: Path) -> None:
    page = (PROJECT / "docs" / "migrating.md").read_text()
    file = tmp_path / "config.toml"
    file.write_text(page.partition("```toml\n")[2].partition("```")[0])
    settings = load_settings({"CONFIG_FILE": str(file)})
    assert settings.default_model == "ViT-B-16"
    assert settings.allowed_remote_image_hosts == ("image.tmdb.org",)
    assert "batch_window_ms" in "\n".join(warnings({"CONFIG_FILE": str(file)}))


def test_mistakes_in_sections_are_named_as_they_stand_in_the_file(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text(
        'DEVICE = "cpu"\nDEPTH_MODLE = "base"\n[model]\ndevice = "cuda"\ndefault_modell = "x"\n'
        '[server]\nport = "http"\n[servers]\nport = 1\n[queue]\nmax_queue = -1\n'
    )
    with pytest.raises(SettingsError) as error:
        load_settings({"CONFIG_FILE": str(file)})
    for part in (
        "IMAGE_EMBEDDER_PORT='http' ([server] port in CONFIG_FILE): ",
        "IMAGE_EMBEDDER_MAX_QUEUE=-1 ([queue] max_queue in CONFIG_FILE): ",
        "[model] default_modell: CONFIG_FILE has a setting that does not exist",
        "[model] device: CONFIG_FILE has DEVICE, which is the same",
        "servers: CONFIG_FILE has a setting that does not exist",
        "DEPTH_MODLE: CONFIG_FILE has a setting that does not exist (did you mean DEPTH_MODEL?)",
    ):
        assert part in str(error.value)


def test_a_scope_without_a_key_is_said() -> None:
    assert any("nothing needs a key" in line for line in warnings({"SERVICE_API_KEY_FOR": "depth"}))
    assert warnings({"SERVICE_API_KEY_FOR": "depth", "SERVICE_API_KEY": "key"}) == []


def test_every_section_leads_to_a_setting_or_to_nothing_by_intent() -> None:
    known = {name.upper() for name in Settings.model_fields}
    without = {name for keys in names.SECTIONS.values() for name in keys.values()} - known
    assert without <= {
        "EMBED_CACHE_SIZE",
        "EMBED_BATCH_WINDOW_MS",
        "EMBED_BATCH_MAX_SIZE",
        "EMBED_CLEANUP_EVERY_N",
        "MAX_BATCH_IMAGE_BYTES",
        "MAX_BATCH_IMAGE_PIXELS",
        "RATE_LIMIT_EMBED",
        "RATE_LIMIT_HEALTH",
    }


def serve(*prefix: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run the command of ``make run`` and of the container image.

    It ends immediately, either with an error or after gunicorn has printed its version.
    """
    return subprocess.run(
        [*prefix, sys.executable, "-m", "app.server", "--version"],
        cwd=PROJECT,
        env=environ,
        capture_output=True,
        text=True,
        timeout=100,
    )


def test_a_number_of_workers_that_is_none_is_our_message() -> None:
    done = serve(WEB_CONCURRENCY="two", HF_HUB_CACHE="/tmp")
    assert done.returncode == 78
    assert "WEB_CONCURRENCY='two'" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("workers", ["", " ", "2", " 2 ", "2.0"])
def test_gunicorn_gets_a_number_of_workers_that_it_can_read(workers: str) -> None:
    done = serve(WEB_CONCURRENCY=workers, HF_HUB_CACHE="/tmp")
    assert done.returncode == 0, done.stderr
    assert "gunicorn" in done.stdout


def test_make_and_the_image_start_it_that_way() -> None:
    assert "-m app.server" in (PROJECT / "Makefile").read_text()
    assert 'CMD ["python", "-m", "app.server"]' in (PROJECT / "Dockerfile").read_text()
