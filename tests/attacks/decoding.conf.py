# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""The project's gunicorn.conf.py with decoders that misbehave when a file asks for it."""

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

# After the configuration, which has to be first.
from app.decoding import pool  # noqa: E402

pool.COMMAND[:] = [sys.executable, str(Path("tests/attacks/faulty_template.py").resolve())]
