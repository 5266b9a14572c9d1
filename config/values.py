# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Kinds of values that settings have; each takes what the replaced services took."""

from __future__ import annotations

import ipaddress
import os
import re
import unicodedata
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr

from config.families import Task

_DEVICE = re.compile(
    r"auto|cpu|cuda(:\d+)?|rocm|xpu|mps|openvino(:(AUTO|CPU|GPU(\.\d+)?))?", re.ASCII
)

_ORIGIN = re.compile(r"https?://([A-Za-z0-9.-]+|\[[0-9A-Fa-f:]+\])(:\d+)?")

# Python's logging knows these names, too.
_LEVELS = {"WARN": "WARNING", "FATAL": "CRITICAL"}

NO_HOME = "there is no home folder (HOME is not set, and the user has none)"


def lower(value: object) -> object:
    """In small letters, if it is a text or a list of texts."""
    if isinstance(value, list | tuple):
        return tuple(lower(each) for each in value)
    return value.lower() if isinstance(value, str) else value


def comma_list(value: object) -> object:
    """A text such as `a, b`, or a list in TOML, becomes a tuple."""
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return tuple(value) if isinstance(value, list) else value


def families(value: object) -> object:
    """A comma list in any case."""
    return lower(comma_list(value))


def level(value: object) -> object:
    """A level of logging, in any case."""
    name = value.upper() if isinstance(value, str) else value
    return _LEVELS.get(name, name) if isinstance(name, str) else name


def device(value: object) -> object:
    """A value of DEVICE, in any case. Raises ValueError."""
    kind, colon, rest = str(value).lower().partition(":")
    name = kind + colon + (rest.upper() if kind == "openvino" else rest)
    if not isinstance(value, str) or not _DEVICE.fullmatch(name):
        raise ValueError(
            "allowed: auto, cpu, cuda, cuda:N, rocm, xpu, mps, openvino, openvino:AUTO, "
            "openvino:CPU, openvino:GPU, openvino:GPU.N"
        )
    return name


def key(value: SecretStr) -> SecretStr:
    """A key that a client can send in a header. Raises ValueError, without the key."""
    text = value.get_secret_value()
    if text != text.strip():
        raise ValueError(
            "it begins or ends with a blank or a line end, which no client sends; a file of "
            "secrets may have one at its end"
        )
    # Control characters, invisible ones, and bytes that are no UTF-8.
    if any(unicodedata.category(character).startswith("C") for character in text):
        raise ValueError("it has a control character or an invisible one, which no client sends")
    return value


def hub_cache() -> Path:
    """Where the hub client keeps its cache (huggingface_hub, "Environment variables").

    Raises:
        ValueError: that is in a home folder, and there is none.
    """
    home = os.environ.get("HF_HOME") or os.path.join(
        os.environ.get("XDG_CACHE_HOME") or "~/.cache", "huggingface"
    )
    return expand(Path(home)) / "hub"


EngineName = Literal["torch", "openvino"]
Precision = Literal["fp32", "bf16", "fp16"]
EngineSetting = Literal["auto", "torch", "openvino"]
PrecisionSetting = Literal["auto", "fp32", "bf16", "fp16"]
KeyScope = Literal["all", "embedding", "depth"]
LevelName = Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]
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
    """A leading ~ is the home folder. Raises ValueError: there is none."""
    try:
        return path.expanduser()
    except RuntimeError as error:
        raise ValueError(NO_HOME) from error


ANY_CASE = BeforeValidator(lower)
HomePath = Annotated[Path, AfterValidator(expand)]
Key = Annotated[SecretStr, AfterValidator(key)]
Level = Annotated[LevelName, BeforeValidator(level)]
Origins = Annotated[tuple[str, ...], BeforeValidator(origins)]
Networks = Annotated[tuple[str, ...], BeforeValidator(networks)]
Names = Annotated[tuple[str, ...], BeforeValidator(comma_list)]
Families = Annotated[tuple[Task, ...], Field(min_length=1), BeforeValidator(families)]
DeviceName = Annotated[str, BeforeValidator(device)]
EngineChoice = Annotated[EngineSetting, ANY_CASE]
PrecisionChoice = Annotated[PrecisionSetting, ANY_CASE]
KeyScopeChoice = Annotated[KeyScope, ANY_CASE]
