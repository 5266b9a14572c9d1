# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Compares the settings in a checkpoint's JSON files with those that its family supports.

A family has one way to prepare a picture and to interpret an output. A checkpoint with other
settings would load but give wrong numbers, so it is refused, and the message names the setting.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from app.engines.base import FloatArray, LoadError, Unsupported
from app.hub.store import Checkpoint

_SHOWN_CHARACTERS = 80


class _Absent:
    """Type of ABSENT, which stands for a setting that a file does not contain."""


ABSENT: Final = _Absent()

Allowed = Mapping[str, Sequence[object]]
"""Supported values by name of the setting. If ABSENT is among them, the setting may be missing."""


def read(checkpoint: Checkpoint, file: str) -> dict[str, Any]:
    """Reads a JSON file of the checkpoint. Raises LoadError if it holds no JSON object."""
    try:
        found = json.loads((checkpoint.path / file).read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise LoadError(f"{file} is damaged") from error
    if not isinstance(found, dict):
        raise LoadError(f"{file} is damaged")
    return found


def part(found: Mapping[str, Any], name: str, file: str) -> dict[str, Any]:
    """A JSON object inside a file; {} if it is absent or null. Raises LoadError for other types."""
    inner = found.get(name)
    if inner is None:
        return {}
    if not isinstance(inner, dict):
        raise LoadError(f'{file} is damaged: "{name}" is no object')
    return inner


def check(found: Mapping[str, Any], allowed: Allowed, where: str) -> None:
    """Compare settings with the supported values; settings not in ``allowed`` are ignored.

    Args:
        found: the settings of a checkpoint.
        allowed: values that its family supports; numbers need to agree only to one part in 1e5.
        where: how the message names the file, and the object in the file.

    Raises:
        Unsupported: the message names the first unsupported value and the supported ones.
    """
    for name, values in allowed.items():
        value = found.get(name, ABSENT)
        if not any(_same(value, each) for each in values):
            says = f'lacks "{name}"' if value is ABSENT else f'has "{name}": {_shown(value)}'
            known = " or ".join(_shown(each) for each in values if each is not ABSENT) or "none"
            raise Unsupported(f"{where} {says}; supported is {known}")


def channels(found: object, what: str) -> FloatArray:
    """The numbers for red, green and blue as an array. Raises Unsupported for anything else."""
    try:
        values = np.array(found, np.float32)
    except (TypeError, ValueError):
        values = np.empty(0, np.float32)
    if values.shape != (3,) or not np.isfinite(values).all():
        raise Unsupported(f"{what} must be three numbers")
    return values


def _same(value: object, other: object) -> bool:
    if isinstance(value, list | tuple) and isinstance(other, list | tuple):
        return len(value) == len(other) and all(map(_same, value, other))
    if isinstance(value, bool) or isinstance(other, bool):
        return value is other
    if isinstance(value, int | float) and isinstance(other, int | float):
        return math.isclose(value, other, rel_tol=1e-5)
    return value == other


def _shown(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…"
