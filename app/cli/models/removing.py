# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""``python -m app models remove``: deletes a model's files, and its row if a user added it."""

from __future__ import annotations

import argparse
import fcntl
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from app.adding import rows
from app.cli.models.listing import look
from app.cli.problems import Failed, UsageError
from app.engines.openvino import cache as converted
from app.hub import store
from app.hub.figures import size_text
from config.models import ModelSpec
from config.settings import Settings


def remove(arguments: argparse.Namespace, spec: ModelSpec, settings: Settings) -> None:
    """Remove a model. Raises Failed, UsageError, AddingError."""
    path, cache = settings.rows_file, settings.hf_hub_cache
    is_added = spec.key in rows.keys(path)
    if spec.is_built_in and not is_added:
        raise UsageError(f"{spec.key} is a part of the program and cannot be removed")
    if is_added:
        _check_defaults(spec, settings)
    shared = [
        other.key
        for other in settings.table().model
        if other.key != spec.key
        and (
            (spec.hub_id is not None and other.hub_id == spec.hub_id) or _is_in(other, spec, cache)
        )
    ]
    if _is_in(spec, spec, cache):
        raise UsageError(
            f"{spec.path} is a folder that this program makes for its own files, and would be "
            "deleted: move your files to another one"
        )
    deletes_files = not shared and not spec.is_built_in
    if deletes_files:
        _check_unused(spec, cache)
    _confirm(spec, cache, is_added, deletes_files, arguments.yes)
    had_files = store.repository_folder(cache, spec).exists()
    if deletes_files:
        try:
            store.delete(spec, cache)
        except OSError as error:
            raise Failed(
                f"{error.filename or cache} cannot be deleted ({error.strerror})"
            ) from None
    if is_added:
        rows.remove(path, spec.key)
    print(_outcome(spec, path, is_added, shared, had_files))


def _is_in(other: ModelSpec, spec: ModelSpec, cache: Path) -> bool:
    """Whether the local folder of ``other`` lies in the folder that removing ``spec`` deletes."""
    if other.path is None:
        return False
    return other.path.resolve().is_relative_to(store.repository_folder(cache, spec).resolve())


def _check_defaults(spec: ModelSpec, settings: Settings) -> None:
    """Raise UsageError if the service could not start without the row."""
    for name, key in (
        ("DEPTH_MODEL", settings.depth_model),
        ("DEFAULT_MODEL", settings.default_model),
    ):
        if key == spec.key:
            raise UsageError(f"{name}={key}: choose another default first")


def _check_unused(spec: ModelSpec, cache: Path) -> None:
    """Raise Failed if a process that is visible on this machine uses or downloads the model."""
    repository = store.repository_folder(cache, spec)
    if users := _processes_that_map([repository, *converted.candidate_folders(repository)]):
        raise Failed(
            f"{spec.key} is in use by process {users[0]}: unload it in the service (its console, "
            f"or POST /api/models/{spec.key}/unload). A model that was loaded at the start of the "
            "service stays in use until the service is stopped"
        )
    for partial in repository.glob("blobs/*.twinlens-partial"):
        with suppress(OSError), partial.open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                raise Failed(f"{spec.key} is being downloaded; try again afterwards") from None


def _processes_that_map(folders: Sequence[Path]) -> list[int]:
    """Processes that have mapped files of these folders; those of other users cannot be seen."""
    beginnings = tuple(f"{folder.resolve()}{os.sep}" for folder in folders)
    found = []
    for maps in Path("/proc").glob("[0-9]*/maps"):
        with suppress(OSError):  # the process has ended, or belongs to another user
            lines = maps.read_text(errors="replace").splitlines()
            names = (line.split(maxsplit=5)[5:] for line in lines)  # a name is the sixth field
            is_ours = int(maps.parent.name) == os.getpid()
            if not is_ours and any(name[0].startswith(beginnings) for name in names if name):
                found.append(int(maps.parent.name))
    return sorted(found)


def _confirm(
    spec: ModelSpec, cache: Path, is_added: bool, deletes_files: bool, is_sure: bool
) -> None:
    """Ask the user whether to go on. Raises Failed if not, UsageError if there is no terminal."""
    if is_sure:
        return
    listed = look(spec, cache)
    size = listed.converted_bytes + (listed.checkpoint_bytes if spec.is_downloadable else 0)
    parts = [f"{size_text(size)} on disk"] if deletes_files and size else []
    parts += ["its row"] if is_added else []
    question = f"Remove {spec.key} ({' and '.join(parts) or 'nothing on disk'})?"
    if not sys.stdin.isatty():
        raise UsageError(f"{question} Pass --yes if so")
    print(f"{question} [y/N] ", end="", flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise Failed("nothing was removed")


def _outcome(
    spec: ModelSpec, path: Path, is_added: bool, shared: Sequence[str], had_files: bool
) -> str:
    if shared:
        files = f"its files stay, because {', '.join(shared)} has the same ones"
    elif spec.path is not None:
        files = f"the files in {spec.path} stay"
    else:
        files = "its files are deleted" if had_files else "there were no files of it"
    row = f"its row is removed from {path}" if is_added else "its row is built in and stays"
    return f"{spec.key}: {files}; {row}"
