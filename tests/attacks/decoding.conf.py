# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Runs the project's gunicorn.conf.py with decoders that misbehave on files that name a fault."""

import runpy
import sys
from pathlib import Path

globals().update(
    {
        name: value
        for name, value in runpy.run_path("gunicorn.conf.py").items()
        if not name.startswith("__")
    }
)

# This import comes after the configuration, which has to run first.
from app.decoding import pool  # noqa: E402

pool.COMMAND[:] = [sys.executable, str(Path("tests/attacks/faulty_template.py").resolve())]
