# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Kinds of values that settings have."""

from __future__ import annotations

import ipaddress
import os
import re
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, Field

from config.models import Family

_DEVICE = re.compile(r"auto|cpu|cuda(:\d+)?|rocm|xpu|mps")


def comma_list(value: object) -> object:
    """A text such as `a, b` becomes a tuple."""
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


def device(value: object) -> object:
    """Raises ValueError unless it is a value of DEVICE."""
    if not isinstance(value, str) or not _DEVICE.fullmatch(value):
        raise ValueError("allowed: auto, cpu, cuda, cuda:N, rocm, xpu, mps")
    return value


def hub_cache() -> Path:
    """Where the hub client keeps its cache (huggingface_hub, "Environment variables")."""
    home = os.environ.get("HF_HOME") or os.path.join(
        os.environ.get("XDG_CACHE_HOME") or "~/.cache", "huggingface"
    )
    return Path(home).expanduser() / "hub"


Port = Annotated[int, Field(ge=1, le=65535)]


def networks(value: object) -> object:
    """A comma list of CIDRs. Raises ValueError."""
    names = comma_list(value)
    for name in names if isinstance(names, tuple) else ():
        ipaddress.ip_network(name)  # raises ValueError, which says what is wrong
    return names


Networks = Annotated[tuple[str, ...], BeforeValidator(networks)]
Names = Annotated[tuple[str, ...], BeforeValidator(comma_list)]
Families = Annotated[tuple[Family, ...], Field(min_length=1), BeforeValidator(comma_list)]
DeviceName = Annotated[str, BeforeValidator(device)]
