# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""The entry point of ``python -m app``, which processes folders of photos; see app/cli/."""

import os
import sys

if sys.argv[1:2] == ["search"]:
    # NumPy's BLAS reads this when it is imported. Search has a thread for each core, and with
    # threads of BLAS beside them it takes seven times as long.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from app.cli.main import main

sys.exit(main())
