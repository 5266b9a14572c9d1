# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Settings from the environment and a file: typed, with defaults, all mistakes reported at once.

The names are those of the two replaced services, so that their users' compose files go on working.
"""

from __future__ import annotations

import os
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from config import checks
from config.models import FAMILIES, ModelTable, read_table
from config.values import (
    DeviceName,
    EngineSetting,
    Families,
    HomePath,
    Names,
    Networks,
    Origins,
    Port,
    PrecisionSetting,
    hub_cache,
)


class SettingsError(Exception):
    """The message names every bad value and what is allowed, one a line."""


class Settings(BaseModel):
    """Every setting; the environment variable is the field's name in capitals."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    config_file: Path | None = Field(
        None, description="TOML file with these names as keys; the environment wins over it"
    )

    # Listeners and processes
    ai_service_port: Port = Field(5000, description="port of the depth service's clients")
    image_embedder_port: Port = Field(8000, description="port of the image embedder's clients")
    image_embedder_host: str = Field(
        "0.0.0.0",  # noqa: S104 - a service for other machines, as both replaced ones
        description="address that both ports bind to",
    )
    web_concurrency: int = Field(1, ge=1, le=256, description="worker processes")
    inference_timeout_seconds: int = Field(
        300, ge=1, description="longest inference; beyond it 504, and a fresh worker"
    )
    shutdown_timeout_seconds: int = Field(
        30, ge=1, description="seconds that running requests get at shutdown; who waits gets 503"
    )

    # Models
    enabled_families: Families = Field(
        FAMILIES, description="what is served: `depth`, `embedding` or both"
    )
    depth_model: str = Field("small", description="depth model when nobody chose another")
    default_model: str = Field("ViT-L-14", description="embedding model when a request names none")
    models_file: Path = Field(
        Path(__file__).with_name("models.toml"), description="the table of models (TOML)"
    )
    device: DeviceName = Field(
        "auto",
        description="`auto`, `cpu`, `cuda`, `cuda:N`, `rocm`, `xpu`, `mps`; `openvino:GPU`, "
        "`openvino:GPU.N`: an Intel GPU, `openvino:AUTO`: such a one or the CPU, `openvino:CPU`",
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
        60, gt=0, le=86_400, description="longest wait for a turn; beyond it 504"
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
        description="per worker; `/health` is 503 where a clean-up does not help; 0 = no limit",
    )
    max_gpu_memory_mb: int = Field(
        0,
        ge=0,
        description="per device; `/health` is 503 where a clean-up does not help; 0 = no limit",
    )
    model_idle_seconds: float = Field(
        0, ge=0, description="unload a model that nobody used for so long; 0 = never"
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
    engine: EngineSetting = Field(
        "auto", description="`openvino` (what `auto` takes on a CPU) or `torch` (on a GPU)"
    )
    precision: PrecisionSetting = Field(
        "auto", description="`fp32`, `bf16` or `fp16`; `auto`: the fastest that the hardware has"
    )
    exact_decode: bool = Field(
        False,
        description="decode JPEG in full, also where fewer pixels would do, and do all image work "
        "on the CPU, also where there is a GPU",
    )

    # Who may ask
    service_api_key: SecretStr | None = Field(
        None, description="clients must send it as `X-Api-Key` or `Authorization: Bearer`"
    )
    require_api_key: bool = Field(False, description="refuse to start without `SERVICE_API_KEY`")
    cors_allowed_origins: Origins = Field(
        (), description="web pages that may call from a browser, comma list, or `*`"
    )

    # Logging
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"] = Field(
        "INFO", description="least severe level that is logged"
    )
    log_json_format: bool = Field(False, description="one JSON object a line instead of text")
    log_file: HomePath | None = Field(None, description="log to this file, too; it is rotated")
    log_max_bytes: int = Field(10 * 2**20, ge=1024, description="size at which it is rotated")
    log_backup_count: int = Field(5, ge=0, description="rotated files that are kept")

    def table(self) -> ModelTable:
        """The table of models; it was checked when the settings were loaded."""
        return read_table(self.models_file)


def load_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """Read all settings from ``environ`` (default: the process environment) and CONFIG_FILE.

    A variable that is set but empty counts as not set, as compose files write it.

    Raises:
        SettingsError: some values are not allowed; the message names each of them.
    """
    environ = os.environ if environ is None else environ
    from_file, problems = _read_file(environ.get("CONFIG_FILE"))
    given = from_file | {
        name: environ[name.upper()] for name in Settings.model_fields if environ.get(name.upper())
    }
    try:
        settings = Settings.model_validate(given)
    except ValidationError as error:
        problems += [_problem(detail, given) for detail in error.errors()]
        bad = {str(detail["loc"][0]) for detail in error.errors()}
        # The good values are still needed to check the rest against each other.
        settings = Settings.model_validate({k: v for k, v in given.items() if k not in bad})
    if settings.require_api_key and settings.service_api_key is None:
        problems.append("REQUIRE_API_KEY=true, but SERVICE_API_KEY is not set")
    problems += checks.engine(settings.engine, settings.device)
    problems += checks.models(
        settings.models_file,
        settings.depth_model,
        settings.default_model,
        settings.enabled_families,
    )
    problems += checks.log_file(settings.log_file)
    if problems:
        raise SettingsError("\n".join(f"  {problem}" for problem in problems))
    return settings


def _read_file(name: str | None) -> tuple[dict[str, object], list[str]]:
    """The values of CONFIG_FILE by field name, and what is wrong with the file."""
    if not name:
        return {}, []
    try:
        values = tomllib.loads(Path(name).read_text(encoding="utf-8"))
    except OSError as error:
        return {}, [f"CONFIG_FILE={name!r}: cannot be read ({error.strerror})"]
    except ValueError as error:
        return {}, [f"CONFIG_FILE={name!r}: not TOML ({error})"]
    known = {field.upper() for field in Settings.model_fields} - {"CONFIG_FILE"}
    problems = [
        f"{key}: CONFIG_FILE has a setting that does not exist" for key in values.keys() - known
    ]
    # As in the environment, empty means not set.
    return {
        key.lower(): values[key] for key in values.keys() & known if values[key] != ""
    }, problems


def _problem(detail: Any, given: Mapping[str, object]) -> str:
    name = str(detail["loc"][0])
    value = "(hidden)" if name == "service_api_key" else repr(given[name])
    return f"{name.upper()}={value}: {detail['msg'].removeprefix('Value error, ')}"


def load_settings_or_exit() -> Settings:
    """For entry points: settings, or the mistakes on stderr and exit status 78 (EX_CONFIG)."""
    try:
        return load_settings()
    except SettingsError as error:
        print(f"Twinlens cannot start:\n{error}", file=sys.stderr)
        raise SystemExit(os.EX_CONFIG) from None


def effective() -> str:
    """The settings in force, one a line, secrets masked."""
    values = load_settings_or_exit().model_dump(mode="json")
    return "\n".join(f"{name.upper()}={value}" for name, value in values.items())


if __name__ == "__main__":
    print(effective())
