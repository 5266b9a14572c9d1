# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""The names of the files that a checkpoint consists of."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class CheckpointFiles:
    """Names of the files that the checkpoints of a family have."""

    #: files that every checkpoint has; the last one holds the weights
    required: tuple[str, ...]
    #: files that only some checkpoints have; they are used if they exist
    optional: tuple[str, ...] = ()

    @property
    def weights(self) -> str | None:
        """The name of the file with the weights; None if no file is required."""
        return self.required[-1] if self.required else None

    def expected(self, folder: Path, recorded: Collection[str] = ()) -> tuple[str, ...]:
        """The files that one checkpoint should have.

        Args:
            folder: the checkpoint's folder.
            recorded: names of the files that the lock file records for the checkpoint.

        Returns:
            All required files, and the optional ones that are in the folder or in the lock file.
        """
        used = (name for name in self.optional if name in recorded or (folder / name).is_file())
        return *used, *self.required

    def are_complete(self, folder: Path, recorded: Collection[str] = ()) -> bool:
        """Whether a checkpoint has all files that it should have; see ``expected``."""
        return all((folder / name).is_file() for name in self.expected(folder, recorded))
