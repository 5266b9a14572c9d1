# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Runs the project's gunicorn.conf.py without Twinlens' optimisations for CUDA.

With this configuration, the service uses neither CUDA graphs nor CUDA streams of its own, and the
CPU does all image work. The benchmark compares it with the usual service to show how much these
optimisations gain.
"""

import runpy

globals().update(
    {
        name: value
        for name, value in runpy.run_path("gunicorn.conf.py").items()
        if not name.startswith("__")
    }
)

# This import comes after the configuration, which has to run before torch is imported.
from app.engines.torch.runner import TorchNetwork  # noqa: E402

TorchNetwork._run_on_cuda = lambda *_: None  # type: ignore[method-assign]
