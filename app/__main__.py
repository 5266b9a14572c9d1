# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""The entry point of ``python -m app``, which processes folders of photos; see app/cli/."""

import sys

from app.cli.main import main

sys.exit(main())
