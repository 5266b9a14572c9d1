# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Settings from the environment: typed, with defaults, all mistakes reported at once.

The names are those of the two replaced services, so that their users' compose files go on working.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from config.models import FAMILIES, Family, ModelTable, read_table

_DEVICE = re.compile(r"auto|cpu|cuda(:\d+)?|rocm|xpu|mps")


class SettingsError(Exception):
    """Start-up cannot go on; the message names every bad value and what is allowed."""


def _comma_list(value: object) -> object:
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


def _device(value: object) -> object:
    if not isinstance(value, str) or not _DEVICE.fullmatch(value):
        raise ValueError("allowed: auto, cpu, cuda, cuda:N, rocm, xpu, mps")
    return value


def _hub_cache() -> Path:
    """Where the hub client keeps its cache (huggingface_hub, "Environment variables")."""
    home = os.environ.get("HF_HOME") or os.path.join(
        os.environ.get("XDG_CACHE_HOME") or "~/.cache", "huggingface"
    )
    return Path(home).expanduser() / "hub"


Port = Annotated[int, Field(ge=1, le=65535)]
Families = Annotated[tuple[Family, ...], Field(min_length=1), BeforeValidator(_comma_list)]


class Settings(BaseModel):
    """Every setting; the environment variable is the field's name in capitals."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    ai_service_port: Port = Field(5000, description="port of the depth service's clients")
    image_embedder_port: Port = Field(8000, description="port of the image embedder's clients")
    image_embedder_host: str = Field(
        "0.0.0.0",  # noqa: S104 - a service for other machines, as both replaced ones
        description="address that both ports bind to",
    )
    enabled_families: Families = Field(
        FAMILIES, description="what is served: `depth`, `embedding` or both"
    )
    depth_model: str = Field("small", description="depth model when a request names none")
    default_model: str = Field("ViT-L-14", description="embedding model when a request names none")
    models_file: Path = Field(
        Path(__file__).with_name("models.toml"), description="the table of models (TOML)"
    )
    device: Annotated[str, BeforeValidator(_device)] = Field(
        "auto", description="`auto`, `cpu`, `cuda`, `cuda:N`, `rocm`, `xpu` or `mps`"
    )
    web_concurrency: int = Field(1, ge=1, le=256, description="worker processes")
    warmup_on_startup: bool = Field(True, description="load the default models at start-up")
    image_embedder_concurrency: int = Field(
        1, ge=1, le=256, description="inferences at a time, per worker"
    )
    image_embedder_max_queue: int = Field(
        100, ge=0, le=10_000, description="requests that may wait; beyond it 429"
    )
    image_embedder_max_wait_seconds: float = Field(
        60, gt=0, description="longest wait for a turn; beyond it 504"
    )
    inference_timeout_seconds: int = Field(
        300, ge=1, description="seconds after which gunicorn replaces a silent worker"
    )
    shutdown_timeout_seconds: int = Field(
        30, ge=1, description="seconds that running requests get at shutdown"
    )
    max_upload_bytes: int = Field(64 * 2**20, ge=1, description="largest request body")
    max_image_bytes: int = Field(10 * 2**20, ge=1, description="largest image to embed")
    max_image_pixels: int = Field(120_000_000, ge=1, description="largest image, width x height")
    hf_hub_cache: Path = Field(
        default_factory=_hub_cache, description="where checkpoints are kept (the hub's own layout)"
    )
    hf_hub_offline: bool = Field(False, description="never download")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"] = Field(
        "INFO", description="least severe level that is logged"
    )

    def table(self) -> ModelTable:
        """The table of models; it was checked when the settings were loaded."""
        return read_table(self.models_file)


def load_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """Read all settings from ``environ`` (default: the process environment).

    A variable that is set but empty counts as not set, as compose files write it.

    Raises:
        SettingsError: some values are not allowed; the message names each of them.
    """
    environ = os.environ if environ is None else environ
    given = {
        name: environ[name.upper()] for name in Settings.model_fields if environ.get(name.upper())
    }
    problems: list[str] = []
    try:
        settings = Settings.model_validate(given)
    except ValidationError as error:
        problems = [_problem(detail, given) for detail in error.errors()]
        bad = {str(detail["loc"][0]) for detail in error.errors()}
        # The good values are still needed to check the rest against the table of models.
        settings = Settings.model_validate({k: v for k, v in given.items() if k not in bad})
    problems += _problems_with_models(settings)
    if problems:
        raise SettingsError("Twinlens cannot start:\n" + "\n".join(f"  {p}" for p in problems))
    return settings


def _problem(detail: Any, given: Mapping[str, str]) -> str:
    name = str(detail["loc"][0])
    return f"{name.upper()}={given[name]!r}: {detail['msg'].removeprefix('Value error, ')}"


def _problems_with_models(settings: Settings) -> list[str]:
    try:
        table = settings.table()
    except OSError as error:
        return [f"MODELS_FILE='{settings.models_file}': cannot be read ({error.strerror})"]
    except ValueError as error:  # TOML syntax and pydantic's errors are both of this kind
        return [f"MODELS_FILE='{settings.models_file}': {error}"]
    wanted: list[tuple[str, str, Family]] = [
        ("DEPTH_MODEL", settings.depth_model, "depth"),
        ("DEFAULT_MODEL", settings.default_model, "embedding"),
    ]
    return [
        f"{name}={value!r}: allowed: {', '.join(table.keys(family))}"
        for name, value, family in wanted
        if value not in table.keys(family)
    ]


def load_settings_or_exit() -> Settings:
    """For entry points: settings, or the mistakes on stderr and exit status 78 (EX_CONFIG)."""
    try:
        return load_settings()
    except SettingsError as error:
        print(error, file=sys.stderr)
        raise SystemExit(os.EX_CONFIG) from None
