# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Checks combinations of settings, and the files that settings name.

Each function returns a list with one line for each mistake.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryFile

from config.families import Task
from config.models import TableError, read_table
from config.names import key_hint
from config.values import EngineSetting


def engine(wanted: EngineSetting, device: str) -> list[str]:
    """Check that ENGINE and DEVICE fit together, and that openvino is installed if needed."""
    if wanted == "torch" and device.startswith("openvino"):
        return [f"ENGINE=torch, but DEVICE={device} needs openvino"]
    if wanted == "openvino" and device.startswith(("cuda", "rocm", "xpu", "mps")):
        return [f"ENGINE=openvino, but DEVICE={device} needs torch"]
    needed = wanted == "openvino" or device.startswith("openvino")
    if needed and find_spec("openvino") is None:
        return [f"ENGINE={wanted}, DEVICE={device}: this platform has no openvino package"]
    return []


def models(file: Path | None, depth: str, embedding: str, enabled: Sequence[Task]) -> list[str]:
    """Check MODELS_FILE, and that DEPTH_MODEL and DEFAULT_MODEL are in the table of models."""
    try:
        table = read_table(file)
    except OSError as error:
        return [f"MODELS_FILE='{file}': cannot be read ({error.strerror})"]
    except (TableError, UnicodeDecodeError) as error:
        return [f"MODELS_FILE='{file}': {line}" for line in str(error).splitlines()]
    wanted: list[tuple[str, str, Task]] = [
        ("DEPTH_MODEL", depth, "depth"),
        ("DEFAULT_MODEL", embedding, "embedding"),
    ]
    return [
        f"{name}={value!r}{key_hint(value, table.keys(task))}: allowed: "
        + ", ".join(table.keys(task))
        for name, value, task in wanted
        if task in enabled and value not in table.keys(task)
    ]


def log_file(path: Path | None) -> list[str]:
    """Check that LOG_FILE can be written. Otherwise each log line would cause a traceback."""
    if path is None:
        return []
    try:
        with path.open("a"):
            return []
    except OSError as error:
        return [f"LOG_FILE='{path}': cannot be written ({error.strerror})"]


def jobs_folder(path: Path | None) -> list[str]:
    """Check that JOBS_FOLDER can be written. It is created if need be."""
    if path is None:
        return []
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        with TemporaryFile(dir=path):
            return []
    except OSError as error:
        return [f"JOBS_FOLDER='{path}': cannot be written ({error.strerror})"]
