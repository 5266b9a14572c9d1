# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""``python -m app.server``: checks the settings, then executes gunicorn with the same arguments.

The check comes first because gunicorn reads WEB_CONCURRENCY when it is imported, before any of our
code, and exits with a traceback if the variable is empty or not a number.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from config.settings import load_settings_or_exit

_WORKERS = "WEB_CONCURRENCY"


def main() -> None:
    """Replace this process by gunicorn. Raises SystemExit (status 78) if a setting is invalid."""
    settings = load_settings_or_exit()
    if os.environ.get(_WORKERS, "").strip():
        os.environ[_WORKERS] = str(settings.web_concurrency)
    else:
        os.environ.pop(_WORKERS, None)
    gunicorn = Path(sys.executable).with_name("gunicorn")
    os.execv(gunicorn, [str(gunicorn), *sys.argv[1:]])  # noqa: S606 - no shell is wanted


if __name__ == "__main__":
    main()
