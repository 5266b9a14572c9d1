# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Reads the settings from environment variables and a file, and reports all mistakes together.

Twinlens replaces two services, ImmichVR's depth service and Classifarr's image embedder. The names
of the settings are theirs, so that existing compose files work. For the same reason values may be
in upper or lower case and have blanks around them, and CONFIG_FILE may be the config.toml of the
image embedder, which has sections.
"""

from __future__ import annotations

import os
import sys
import tomllib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, Field, ValidationError

from config import checks, names
from config.families import TASKS
from config.immich import ImmichSettings
from config.jobs import JobSettings
from config.models import ModelTable, read_table
from config.values import (
    DeviceName,
    EngineChoice,
    Families,
    HomePath,
    Key,
    KeyScopeChoice,
    Level,
    Names,
    Networks,
    Origins,
    Port,
    PrecisionChoice,
    hub_cache,
)
from config.video import VideoSettings

# The file that the replaced image embedder reads by default.
_FILE_OF_THE_EMBEDDER = Path("/app/config.toml")
#: The file in HF_HUB_CACHE with the user's rows of the table of models, unless MODELS_FILE is set.
ROWS_IN_CACHE = "twinlens-models.toml"


class SettingsError(Exception):
    """Settings are invalid. The message has a line for each: name, value and what is allowed."""


class Settings(VideoSettings, JobSettings, ImmichSettings):
    """All settings. A field's environment variable is its name in capitals."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    config_file: Path | None = Field(
        None, description="TOML file with these names as keys; the environment wins over it"
    )

    # Listeners and processes
    ai_service_port: Port = Field(5000, description="port of the depth service's clients")
    image_embedder_port: Port = Field(8000, description="port of the image embedder's clients")
    image_embedder_host: str = Field(
        "0.0.0.0",  # noqa: S104 - other machines use it, as they used both replaced services
        description="address that both ports bind to",
    )
    web_concurrency: int = Field(1, ge=1, le=256, description="worker processes")
    inference_timeout_seconds: int = Field(
        300,
        ge=1,
        description="seconds that one inference may take; beyond it 504, and the worker "
        "is replaced",
    )
    shutdown_timeout_seconds: int = Field(
        30,
        ge=1,
        description="seconds that running requests get at shutdown; queued requests get 503",
    )

    # Models
    enabled_families: Families = Field(
        TASKS, description="what is served: `depth`, `embedding` or both"
    )
    depth_model: str = Field("small", description="depth model if no other one was chosen")
    default_model: str = Field("ViT-L-14", description="embedding model when a request names none")
    models_file: HomePath | None = Field(
        None,
        description="TOML file with further models; a row replaces the one with its key; unset: "
        "`twinlens-models.toml` in `HF_HUB_CACHE`, which `python -m app models add` writes",
    )
    device: DeviceName = Field(
        "auto",
        description="`auto`, `cpu`, `cuda`, `cuda:N`, `rocm`, `xpu`, `mps`; `openvino:GPU`, "
        "`openvino:GPU.N`: an Intel GPU, `openvino:AUTO`: an Intel GPU or the CPU, `openvino:CPU`",
    )
    warmup_on_startup: bool = Field(True, description="load the default models at start-up")
    hf_hub_cache: HomePath = Field(
        default_factory=hub_cache, description="where checkpoints are kept (the hub's own layout)"
    )
    hf_hub_offline: bool = Field(False, description="never download")

    # Requests
    image_embedder_concurrency: int = Field(
        1, ge=1, le=256, description="inferences (a batch is one) at a time, per worker"
    )
    image_embedder_max_queue: int = Field(
        100, ge=0, le=10_000, description="requests that may wait, in all workers; beyond it 429"
    )
    image_embedder_max_wait_seconds: float = Field(
        60,
        ge=0,
        le=86_400,
        description="longest wait for a turn; beyond it 504; 0 = 504 unless a device is free",
    )
    embed_cache_size: int = Field(
        1000, ge=0, le=1_000_000, description="vectors of images that each worker keeps; 0: none"
    )
    embed_batch_api_max_items: int = Field(
        32,
        ge=1,
        le=1024,
        description="items of one `/embed-batch`, `/embed-text` or `/v1/embeddings`; beyond it 413",
    )
    max_upload_bytes: int = Field(64 * 2**20, ge=1, description="largest request body")
    max_image_bytes: int = Field(10 * 2**20, ge=1, description="largest image to embed")
    max_image_pixels: int = Field(120_000_000, ge=1, description="largest image, width x height")
    decode_timeout_seconds: float = Field(
        20, gt=0, le=3600, description="CPU time that decoding one image may take; beyond it 413"
    )

    # Memory
    memory_cleanup_interval_seconds: float = Field(
        300, ge=0, description="seconds between clean-ups of memory; 0 = never"
    )
    cleanup_on_shutdown: bool = Field(True, description="give device memory back at shutdown")
    max_process_memory_mb: int = Field(
        0,
        ge=0,
        description="limit per worker; `/health` is 503 if a clean-up does not help; 0 = no limit",
    )
    max_gpu_memory_mb: int = Field(
        0,
        ge=0,
        description="limit per device; `/health` is 503 if a clean-up does not help; 0 = no limit",
    )
    model_idle_seconds: float = Field(
        0, ge=0, description="seconds without use after which a model is unloaded; 0 = never"
    )

    # Untrusted input
    allow_remote_image_urls: bool = Field(
        False, description="accept `image_url`: fetch images from other hosts"
    )
    allowed_remote_image_hosts: Names = Field(
        (), description="hosts that `image_url` may name, `*.example.org` for all below; none = any"
    )
    allowed_private_networks: Networks = Field(
        (), description="private CIDRs that `image_url` may reach, such as `192.168.1.0/24`"
    )
    request_timeout_seconds: float = Field(
        15, gt=0, description="seconds that one remote fetch has in total"
    )
    max_waiting_bytes: int = Field(
        512 * 2**20, ge=1, description="bodies of all waiting requests together; beyond it 429"
    )
    body_timeout_seconds: float = Field(
        60, gt=0, description="seconds in which a request body must be complete; beyond it 408"
    )

    # Engine
    engine: EngineChoice = Field(
        "auto", description="`openvino` (what `auto` takes on a CPU) or `torch` (on a GPU)"
    )
    precision: PrecisionChoice = Field(
        "auto",
        description="`fp32`, `bf16`, `fp16`, or `int8` (weights, on CPUs with VNNI); `auto`: "
        "the fastest floating point that the hardware has",
    )
    exact_decode: bool = Field(
        False,
        description="decode JPEG in full even if fewer pixels would do, and do all image work "
        "on the CPU even if there is a GPU",
    )

    # Access
    service_api_key: Key | None = Field(
        None, description="clients must send it as `X-Api-Key` or `Authorization: Bearer`"
    )
    service_api_key_for: KeyScopeChoice = Field(
        "all",
        description="whose routes need the key: `all`; `embedding` or `depth`: only the routes of "
        "that task; the others stay open, for ImmichVR, which sends no key",
    )
    require_api_key: bool = Field(False, description="refuse to start without `SERVICE_API_KEY`")
    cors_allowed_origins: Origins = Field(
        (), description="web pages that may call from a browser, comma list, or `*`"
    )

    # Logging
    log_level: Level = Field("INFO", description="least severe level that is logged")
    log_json_format: bool = Field(False, description="one JSON object a line instead of text")
    log_file: HomePath | None = Field(None, description="log to this file, too; it is rotated")
    log_max_bytes: int = Field(
        10 * 2**20, ge=0, description="bytes at which the log file is rotated; 0 = never"
    )
    log_backup_count: int = Field(5, ge=0, description="rotated files that are kept")

    @property
    def rows_file(self) -> Path:
        """The file with the user's rows of the table of models; it need not exist.

        By default it lies in the cache: that folder is the volume of a container, and a copy of it
        for another machine brings its rows along.
        """
        return self.models_file or self.hf_hub_cache / ROWS_IN_CACHE

    def present_rows_file(self) -> Path | None:
        """``rows_file``; None if MODELS_FILE is not set and there is none."""
        if self.models_file is not None:
            return self.models_file
        with suppress(OSError):  # a cache that cannot be read is reported where it is used
            if self.rows_file.is_file():
                return self.rows_file
        return None

    def table(self) -> ModelTable:
        """Read the table of models. ``load_settings`` has checked that it is valid."""
        return read_table(self.present_rows_file())


@dataclass
class _Sources:
    """Values from the environment and CONFIG_FILE by field name, before validation."""

    values: dict[str, object] = field(default_factory=dict)
    #: for each field name, its section and key in CONFIG_FILE as text; "" if they do not differ
    places: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def add(self, name: str, value: object, place: str = "") -> None:
        """Add a value without surrounding blanks; an empty text counts as not set."""
        # Blanks around the API key are kept, so that they are reported as a mistake.
        if isinstance(value, str) and name != "service_api_key":
            value = value.strip()
        if value == "":
            return
        self.values[name] = value
        self.places[name] = place

    def problem(self, detail: Any) -> str:
        """The message for one validation error of pydantic."""
        name = str(detail["loc"][0])
        value = "(hidden)" if name == "service_api_key" else repr(self.values[name])
        message = detail["msg"].removeprefix("Value error, ")
        return f"{name.upper()}={value}{self.places[name]}: {message}"


def known_names() -> set[str]:
    """The names of the environment variables of all settings."""
    return {name.upper() for name in Settings.model_fields}


def warnings(environ: Mapping[str, str]) -> list[str]:
    """A line for each setting without effect, because it is misspelt or unknown to Twinlens."""
    sources = _read_sources(environ)
    lines = [*names.warnings(environ, known_names()), *sources.warnings]
    if "service_api_key_for" in sources.values and "service_api_key" not in sources.values:
        lines.append("SERVICE_API_KEY_FOR is set, but SERVICE_API_KEY is not: nothing needs a key")
    if "config_file" not in sources.values and _FILE_OF_THE_EMBEDDER.is_file():
        lines.append(
            f"{_FILE_OF_THE_EMBEDDER} is not read; CONFIG_FILE={_FILE_OF_THE_EMBEDDER} would"
        )
    return lines


def load_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """Read all settings from ``environ`` (default: the process environment) and CONFIG_FILE.

    An empty variable counts as not set: compose files write ``NAME=${NAME:-}``.

    Raises:
        SettingsError: some values are invalid; the message has a line for each.
    """
    sources = _read_sources(os.environ if environ is None else environ)
    problems = sources.problems
    if "hf_hub_cache" not in sources.values:
        try:
            sources.add("hf_hub_cache", hub_cache())
        except ValueError as error:
            problems.append(f"HF_HUB_CACHE is not set, and {error}: set it to a folder")
            sources.add("hf_hub_cache", Path())  # a stand-in, to find further mistakes
    try:
        settings = Settings.model_validate(sources.values)
    except ValidationError as error:
        problems += [sources.problem(detail) for detail in error.errors()]
        bad = {str(detail["loc"][0]) for detail in error.errors()}
        good = {name: value for name, value in sources.values.items() if name not in bad}
        # The valid values are still needed for the checks of combinations below.
        settings = Settings.model_validate({"hf_hub_cache": Path()} | good)
    if settings.require_api_key and "service_api_key" not in sources.values:
        problems.append("REQUIRE_API_KEY=true, but SERVICE_API_KEY is not set")
    problems += checks.engine(settings.engine, settings.device)
    problems += checks.models(
        settings.present_rows_file(),
        settings.depth_model,
        settings.default_model,
        settings.enabled_families,
    )
    problems += checks.log_file(settings.log_file)
    problems += checks.jobs_folder(settings.jobs_folder)
    if problems:
        raise SettingsError("\n".join(f"  {problem}" for problem in problems))
    return settings


def _read_sources(environ: Mapping[str, str]) -> _Sources:
    """Read the environment and CONFIG_FILE. The environment overrides the file."""
    sources = _Sources()
    _read_file(environ.get("CONFIG_FILE", "").strip(), sources)
    for name in Settings.model_fields:
        sources.add(name, environ.get(name.upper(), ""))
    return sources


def _read_file(name: str, sources: _Sources) -> None:
    """Add the values of CONFIG_FILE, and its problems. ``name`` is its path, "" for no file."""
    if not name:
        return
    try:
        # "utf-8-sig" skips the byte order mark that editors on Windows write.
        values = tomllib.loads(Path(name).read_text(encoding="utf-8-sig"))
    except OSError as error:
        sources.problems.append(f"CONFIG_FILE={name!r}: cannot be read ({error.strerror})")
        return
    except ValueError as error:
        sources.problems.append(f"CONFIG_FILE={name!r}: not TOML ({error})")
        return
    known = known_names() - {"CONFIG_FILE"}
    for key, value in values.items():
        if key in known:
            sources.add(key.lower(), value)
        elif isinstance(value, dict) and key in names.SECTIONS:
            _read_section(key, value, sources)
        else:
            problem = f"{key}: CONFIG_FILE has a setting that does not exist"
            sources.problems.append(problem + names.hint(key, known))


def _read_section(section: str, values: Mapping[str, object], sources: _Sources) -> None:
    """Add the values of one section of the replaced image embedder's config.toml."""
    keys = names.SECTIONS[section]
    for key, value in values.items():
        place = f"[{section}] {key}"
        name = keys.get(key)
        if name is None:
            sources.problems.append(
                f"{place}: CONFIG_FILE has a setting that does not exist; "
                f"in this section are {', '.join(keys)}"
            )
        elif name.lower() not in Settings.model_fields:
            sources.warnings.append(
                f"{place} in CONFIG_FILE has no counterpart in Twinlens; it is ignored"
            )
        elif name.lower() in sources.values:
            sources.problems.append(f"{place}: CONFIG_FILE has {name}, which is the same, too")
        else:
            sources.add(name.lower(), value, f" ({place} in CONFIG_FILE)")


def load_settings_or_exit() -> Settings:
    """Load the settings, or print the mistakes and exit; for entry points.

    Raises:
        SystemExit: status 78 (EX_CONFIG), some values are invalid.
    """
    try:
        return load_settings()
    except SettingsError as error:
        print(f"Twinlens cannot start:\n{error}", file=sys.stderr)
        raise SystemExit(os.EX_CONFIG) from None


def effective() -> str:
    """All settings with their values, one per line, with secrets masked."""
    values = load_settings_or_exit().model_dump(mode="json")
    return "\n".join(f"{name.upper()}={value}" for name, value in values.items())


if __name__ == "__main__":
    print(effective())
