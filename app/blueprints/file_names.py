# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""The names under which clients save the files of answers."""

from __future__ import annotations

import re
from pathlib import PurePath
from urllib.parse import quote


def stem(upload_name: str) -> str:
    """The name of an uploaded file without its folder and its last suffix."""
    # Browsers send a bare file name, but some clients send a whole path, even with backslashes.
    base = re.split(r"[\\/]", upload_name)[-1]
    return re.sub(r"[\x00-\x1f\x7f]", "", PurePath(base).stem)[:200]


def attachment(name: str) -> str:
    """The Content-Disposition of a file to save under this name (RFC 6266)."""
    plain = re.sub(r'[^\x20-\x7e]|["\\?]', "_", name)
    value = f'attachment; filename="{plain}"'
    return value if plain == name else f"{value}; filename*=UTF-8''{quote(name, safe='')}"
