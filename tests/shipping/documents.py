# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Reads the YAML files that ship with the project, and runs tools that check them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from benchmarks.service import PROJECT
from config.settings import Settings

COMPOSE = [PROJECT / "docker-compose.yml", *sorted((PROJECT / "config/compose").glob("*.yml"))]
KUBERNETES = sorted((PROJECT / "config/kubernetes").glob("*.yaml"))
SETTINGS = {name.upper() for name in Settings.model_fields}


class _Compose(yaml.SafeLoader):
    """Reads compose's tag ``!reset``, which removes a value that another file has set."""


_Compose.add_constructor("!reset", lambda _loader, _node: None)


def documents(file: Path) -> list[dict[str, Any]]:
    """Return all documents of a YAML file; values that compose's ``!reset`` removes are None."""
    with file.open() as stream:
        return list(yaml.load_all(stream, _Compose))


def compose(file: Path) -> dict[str, Any]:
    """Return a compose file without the values that ``!reset`` removes."""
    (whole,) = documents(file)
    for service in whole["services"].values():
        for key in [key for key, value in service.items() if value is None]:
            del service[key]
    return whole


def tool(name: str, *arguments: object) -> str:
    """Run a tool of the virtual environment, check that it succeeds, and return its output."""
    command = [str(Path(sys.executable).with_name(name)), *map(str, arguments)]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
