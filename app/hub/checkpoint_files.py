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
    #: pairs of a required file and the file that is used instead if a checkpoint lacks it; the
    #: latter may be optional, if it is also used beside the former
    substitutes: tuple[tuple[str, str], ...] = ()

    @property
    def weights(self) -> str | None:
        """The usual name of the file with the weights; None if no file is required."""
        return self.required[-1] if self.required else None

    def are_weights(self, name: str) -> bool:
        """Whether a file of this name holds the weights, under their usual or another name."""
        return name == self.weights or (self.weights, name) in self.substitutes

    def substitute(self, name: str) -> str | None:
        """The file that is used instead if a checkpoint lacks a required one; None: there is none.

        ``name`` is the required file.
        """
        return dict(self.substitutes).get(name)

    def all_names(self) -> tuple[str, ...]:
        """The names of all files that a checkpoint may have."""
        others = (name for _, name in self.substitutes)
        return tuple(dict.fromkeys((*self.required, *self.optional, *others)))

    def in_words(self) -> str:
        """The required files, such as "config.json, model.safetensors (or pytorch_model.bin)"."""
        others = {name: f"{name} (or {other})" for name, other in self.substitutes}
        return ", ".join(others.get(name, name) for name in self.required)

    def chosen(self, present: Collection[str]) -> CheckpointFiles:
        """The files of one checkpoint: substitutes take the place of what it lacks.

        Args:
            present: the names of the files that the checkpoint has.
        """
        names = []
        for name in self.required:
            other = self.substitute(name)
            names.append(other if other in present and name not in present else name)
        optional = tuple(name for name in self.optional if name not in names)
        return CheckpointFiles(tuple(map(str, names)), optional)

    def are_required_in(self, folder: Path) -> bool:
        """Whether a folder has all required files, or their substitutes.

        is_file() follows the links into blobs/, so a broken link counts as an absent file.
        """
        others = dict(self.substitutes)
        return all(
            (folder / name).is_file() or (name in others and (folder / others[name]).is_file())
            for name in self.required
        )

    def in_folder(self, folder: Path, recorded: Collection[str] = ()) -> CheckpointFiles:
        """The files of the checkpoint in a folder, see ``chosen``.

        Args:
            folder: the checkpoint's folder.
            recorded: names of the files that the lock file records for the checkpoint.
        """
        present = [name for name in self.all_names() if (folder / name).is_file()]
        return self.chosen((*present, *recorded))

    def expected(self, folder: Path, recorded: Collection[str] = ()) -> tuple[str, ...]:
        """The files that one checkpoint should have.

        Args:
            folder: the checkpoint's folder.
            recorded: names of the files that the lock file records for the checkpoint.

        Returns:
            All required files, or their substitutes, and the optional ones that are in the folder
            or in the lock file. The last one holds the weights.
        """
        files = self.in_folder(folder, recorded)
        used = (name for name in files.optional if name in recorded or (folder / name).is_file())
        return *used, *files.required

    def are_complete(self, folder: Path, recorded: Collection[str] = ()) -> bool:
        """Whether a checkpoint has all files that it should have; see ``expected``."""
        return all((folder / name).is_file() for name in self.expected(folder, recorded))
