# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""``python -m app.server``: check the settings, then become gunicorn, with the same arguments.

gunicorn reads WEB_CONCURRENCY while it is imported, before any file of ours, and ends with a
traceback where that is empty or no number.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from config.settings import load_settings_or_exit

_WORKERS = "WEB_CONCURRENCY"


def main() -> None:
    """Raises SystemExit (status 78) where a setting is wrong; otherwise it does not return."""
    settings = load_settings_or_exit()
    if os.environ.get(_WORKERS, "").strip():
        os.environ[_WORKERS] = str(settings.web_concurrency)
    else:
        os.environ.pop(_WORKERS, None)
    gunicorn = Path(sys.executable).with_name("gunicorn")
    os.execv(gunicorn, [str(gunicorn), *sys.argv[1:]])  # noqa: S606 - no shell is wanted


if __name__ == "__main__":
    main()
