# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""The folder of all jobs: the operator's, or a temporary one that ends with the service."""

from __future__ import annotations

import logging
from pathlib import Path

from app.host.temporary import TemporaryFolder

log = logging.getLogger("twinlens.jobs")


class Home:
    """The folder in which each job has a folder of its own.

    Args:
        chosen: the setting JOBS_FOLDER; None: a folder in the system's folder for temporary files,
            which is removed when the service ends.
    """

    def __init__(self, chosen: Path | None) -> None:
        self._chosen = chosen
        self._temporary: TemporaryFolder | None = None

    def prepare(self) -> None:
        """Create the folder. The master calls this before it forks, so that all workers share it.

        If that fails, jobs are refused, and the service is used without them.
        """
        try:
            self._folder()
        except OSError as error:
            log.warning("film jobs are refused, because their folder cannot be created: %s", error)

    def path(self) -> Path:
        """The folder, which is created if need be. Raises OSError."""
        return self._folder()

    def _folder(self) -> Path:
        if self._chosen is not None:
            self._chosen.mkdir(mode=0o700, parents=True, exist_ok=True)
            return self._chosen
        if self._temporary is None:
            self._temporary = TemporaryFolder(kind="jobs")
        self._temporary.path.mkdir(mode=0o700, exist_ok=True)  # in case somebody removed it
        return self._temporary.path

    def close(self) -> None:
        """Remove a temporary folder; only the process that created it does so."""
        if self._temporary is not None:
            self._temporary.remove()
