# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Types of settings. Each accepts all spellings that the replaced services accepted.

The functions parse and check a value for pydantic, which reports their ValueError as a mistake.
"""

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

# An address of a server: without credentials, query and fragment.
_SERVER = re.compile(
    r"https?://([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:\d{1,5})?(/[\w./~-]*)?", re.ASCII
)

# Other names that Python's logging accepts for two levels.
_LEVELS = {"WARN": "WARNING", "FATAL": "CRITICAL"}

NO_HOME = "there is no home folder (HOME is not set, and the user has none)"


def lower(value: object) -> object:
    """Convert a text, or each text of a list, to lower case; leave other values as they are."""
    if isinstance(value, list | tuple):
        return tuple(lower(each) for each in value)
    return value.lower() if isinstance(value, str) else value


def comma_list(value: object) -> object:
    """Convert a text such as `a, b`, or a list from TOML, to a tuple."""
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return tuple(value) if isinstance(value, list) else value


def families(value: object) -> object:
    """Parse a comma list in upper or lower case."""
    return lower(comma_list(value))


def level(value: object) -> object:
    """Parse a logging level in upper or lower case."""
    name = value.upper() if isinstance(value, str) else value
    return _LEVELS.get(name, name) if isinstance(name, str) else name


def device(value: object) -> object:
    """Parse a value of DEVICE in upper or lower case. Raises ValueError."""
    kind, colon, rest = str(value).lower().partition(":")
    name = kind + colon + (rest.upper() if kind == "openvino" else rest)
    if not isinstance(value, str) or not _DEVICE.fullmatch(name):
        raise ValueError(
            "allowed: auto, cpu, cuda, cuda:N, rocm, xpu, mps, openvino, openvino:AUTO, "
            "openvino:CPU, openvino:GPU, openvino:GPU.N"
        )
    return name


def key(value: SecretStr) -> SecretStr:
    """Check that clients can send an API key in a header.

    Raises:
        ValueError: they cannot. The message does not contain the key.
    """
    text = value.get_secret_value()
    if text != text.strip():
        raise ValueError(
            "it begins or ends with a blank or a line end, which no client sends; a file of "
            "secrets may have one at its end"
        )
    # Category C: control characters, invisible characters, and bytes that are not UTF-8.
    if any(unicodedata.category(character).startswith("C") for character in text):
        raise ValueError("it has a control character or an invisible one, which no client sends")
    return value


def hub_cache() -> Path:
    """The cache folder of the hub client (see "Environment variables" of huggingface_hub).

    Raises:
        ValueError: the folder would be in the home folder, but there is none.
    """
    home = os.environ.get("HF_HOME") or os.path.join(
        os.environ.get("XDG_CACHE_HOME") or "~/.cache", "huggingface"
    )
    return expand(Path(home)) / "hub"


EngineName = Literal["torch", "openvino"]
FloatName = Literal["fp32", "bf16", "fp16"]
Precision = Literal[FloatName, "int8"]
EngineSetting = Literal["auto", "torch", "openvino"]
FloatSetting = Literal["auto", FloatName]
PrecisionSetting = Literal[FloatSetting, "int8"]
KeyScope = Literal["all", "embedding", "depth"]
LevelName = Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]
Port = Annotated[int, Field(ge=1, le=65535)]


def networks(value: object) -> object:
    """Parse a comma list of CIDRs such as 192.168.1.0/24. Raises ValueError."""
    names = comma_list(value)
    for name in names if isinstance(names, tuple) else ():
        ipaddress.ip_network(name)  # raises a ValueError with an explanation
    return names


def origins(value: object) -> object:
    """Parse a comma list of origins such as https://photos.example.org:8443. Raises ValueError.

    Other texts are refused, because flask-cors treats a text with special characters as a regular
    expression, and compares only the beginning of an origin with it.
    """
    names = comma_list(value)
    for name in names if isinstance(names, tuple) else ():
        if name != "*" and not _ORIGIN.fullmatch(str(name)):
            raise ValueError("allowed: * or origins such as https://photos.example.org:8443")
    return names


def address(value: str) -> str:
    """Check the address of another server; the slash at its end is left out. Raises ValueError."""
    if not _SERVER.fullmatch(value):
        raise ValueError("allowed: an address such as http://immich-machine-learning:3003")
    return value.rstrip("/")


def expand(path: Path) -> Path:
    """Replace a leading ~ by the home folder. Raises ValueError if there is none."""
    try:
        return path.expanduser()
    except RuntimeError as error:
        raise ValueError(NO_HOME) from error


ANY_CASE = BeforeValidator(lower)
HomePath = Annotated[Path, AfterValidator(expand)]
Key = Annotated[SecretStr, AfterValidator(key)]
Address = Annotated[str, AfterValidator(address)]
Level = Annotated[LevelName, BeforeValidator(level)]
Origins = Annotated[tuple[str, ...], BeforeValidator(origins)]
Networks = Annotated[tuple[str, ...], BeforeValidator(networks)]
Names = Annotated[tuple[str, ...], BeforeValidator(comma_list)]
Families = Annotated[tuple[Task, ...], Field(min_length=1), BeforeValidator(families)]
DeviceName = Annotated[str, BeforeValidator(device)]
EngineChoice = Annotated[EngineSetting, ANY_CASE]
PrecisionChoice = Annotated[PrecisionSetting, ANY_CASE]
KeyScopeChoice = Annotated[KeyScope, ANY_CASE]
