# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""The project's gunicorn.conf.py without what is special on CUDA.

No graphs, no streams, and the CPU does all image work: the difference is what these are good for.
"""

import runpy

globals().update(
    {
        name: value
        for name, value in runpy.run_path("gunicorn.conf.py").items()
        if not name.startswith("__")
    }
)

# After the configuration, which has to be first.
from app.engines.torch.runner import TorchNetwork  # noqa: E402

TorchNetwork._run_on_cuda = lambda *_: None  # type: ignore[method-assign]
