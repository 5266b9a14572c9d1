# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""The current depth model: one choice for all workers, gone with the service."""

from __future__ import annotations

from pathlib import Path

from app.models import atomic


class Choice:
    """A key that one worker writes and all read; a file in the service's shared folder."""

    def __init__(self, folder: Path, default: str) -> None:
        self._file = folder / "current-model"
        self._default = default

    def get(self) -> str:
        """The key that was chosen last, else the default."""
        return self.chosen() or self._default

    def chosen(self) -> str | None:
        """The key that was chosen last; None: nobody chose one."""
        try:
            return self._file.read_text(encoding="utf-8")
        except OSError:
            return None

    def set(self, key: str) -> str | None:
        """Choose a model; gives the one that was chosen before. Raises OSError."""
        before = self.chosen()
        atomic.write_text(self._file, key)
        return before

    def reset(self, key: str) -> None:
        """Back to the default, if ``key`` is the choice."""
        if self.get() == key:
            self._file.unlink(missing_ok=True)
