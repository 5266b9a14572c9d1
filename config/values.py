# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Kinds of values that settings have."""

from __future__ import annotations

import ipaddress
import os
import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from config.models import Family

_DEVICE = re.compile(
    r"auto|cpu|cuda(:\d+)?|rocm|xpu|mps|openvino(:(AUTO|CPU|GPU(\.\d+)?))?", re.ASCII
)

_ORIGIN = re.compile(r"https?://([A-Za-z0-9.-]+|\[[0-9A-Fa-f:]+\])(:\d+)?")


def comma_list(value: object) -> object:
    """A text such as `a, b`, or a list in TOML, becomes a tuple."""
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return tuple(value) if isinstance(value, list) else value


def device(value: object) -> object:
    """Raises ValueError unless it is a value of DEVICE."""
    if not isinstance(value, str) or not _DEVICE.fullmatch(value):
        raise ValueError(
            "allowed: auto, cpu, cuda, cuda:N, rocm, xpu, mps, openvino, openvino:AUTO, "
            "openvino:CPU, openvino:GPU, openvino:GPU.N"
        )
    return value


def hub_cache() -> Path:
    """Where the hub client keeps its cache (huggingface_hub, "Environment variables")."""
    home = os.environ.get("HF_HOME") or os.path.join(
        os.environ.get("XDG_CACHE_HOME") or "~/.cache", "huggingface"
    )
    return Path(home).expanduser() / "hub"


EngineName = Literal["torch", "openvino"]
EngineSetting = Literal["auto", "torch", "openvino"]
Precision = Literal["fp32", "bf16", "fp16"]
PrecisionSetting = Literal["auto", "fp32", "bf16", "fp16"]
Port = Annotated[int, Field(ge=1, le=65535)]


def networks(value: object) -> object:
    """A comma list of CIDRs. Raises ValueError."""
    names = comma_list(value)
    for name in names if isinstance(names, tuple) else ():
        ipaddress.ip_network(name)  # raises ValueError, which says what is wrong
    return names


def origins(value: object) -> object:
    """A comma list of origins. Raises ValueError.

    flask-cors would take anything with special characters for a pattern, and not to its end.
    """
    names = comma_list(value)
    for name in names if isinstance(names, tuple) else ():
        if name != "*" and not _ORIGIN.fullmatch(str(name)):
            raise ValueError("allowed: * or origins such as https://photos.example.org:8443")
    return names


def expand(path: Path) -> Path:
    """A leading ~ is the home folder."""
    return path.expanduser()


HomePath = Annotated[Path, AfterValidator(expand)]
Origins = Annotated[tuple[str, ...], BeforeValidator(origins)]
Networks = Annotated[tuple[str, ...], BeforeValidator(networks)]
Names = Annotated[tuple[str, ...], BeforeValidator(comma_list)]
Families = Annotated[tuple[Family, ...], Field(min_length=1), BeforeValidator(comma_list)]
DeviceName = Annotated[str, BeforeValidator(device)]
