# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""``python -m app``: photos of a folder without a server, see app/cli/."""

import sys

from app.cli.main import main

sys.exit(main())
