# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""The current depth model: one choice for all workers, gone with the service."""

from __future__ import annotations

import os
from pathlib import Path


class Choice:
    """A key that one worker writes and all read; a file in the service's shared folder."""

    def __init__(self, folder: Path, default: str) -> None:
        self._file = folder / "current-model"
        self._default = default

    def get(self) -> str:
        """The key that was chosen last, else the default."""
        try:
            return self._file.read_text(encoding="ascii")
        except OSError:
            return self._default

    def set(self, key: str) -> None:
        """Choose a model."""
        fresh = self._file.with_name(f"{self._file.name}.{os.getpid()}")
        fresh.write_text(key, encoding="ascii")
        os.replace(fresh, self._file)

    def reset(self, key: str) -> None:
        """Back to the default, if ``key`` is the choice."""
        if self.get() == key:
            self._file.unlink(missing_ok=True)
