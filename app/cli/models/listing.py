# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""``python -m app models list``: lists all models of the table and their files on disk."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from app.engines.base import LoadError, Unsupported
from app.engines.openvino import cache as converted
from app.hub import store
from app.hub.figures import size_text
from app.hub.store import Checkpoint
from app.hub.verification import check_sizes
from app.lending.registry import files_of
from app.models.base import describe_checkpoint
from app.tasks import sharp
from config.models import ModelSpec
from config.settings import Settings

#: the last two are for Apple's program, whose files are not those of this program
State = Literal[
    "present",
    "not downloaded",
    "damaged",
    "unsupported",
    "built-in",
    "local folder",
    "usable",
    "not usable",
]


@dataclass(frozen=True)
class Listed:
    """A model as the command shows it."""

    spec: ModelSpec
    state: State
    #: why it is damaged or not supported
    reason: str | None
    commit: str | None
    #: bytes on disk of the checkpoint
    checkpoint_bytes: int
    #: bytes on disk of the networks that an engine converted from it
    converted_bytes: int

    @property
    def size(self) -> str:
        """The size on disk as a text; in brackets that of the download if nothing is on disk."""
        if self.checkpoint_bytes:
            return size_text(self.checkpoint_bytes + self.converted_bytes)
        return f"({self.spec.download})" if self.spec.download else "-"


def look(spec: ModelSpec, cache: Path) -> Listed:
    """Find out which files of a model are on disk, and in which state."""
    if spec.is_sharp:
        reason = sharp.lacking(spec)
        return Listed(spec, "not usable" if reason else "usable", reason, None, 0, 0)
    files = files_of(spec)
    checkpoint = store.find_checkpoint(spec, files, cache)
    size = 0
    if checkpoint is not None:
        names = files.expected(checkpoint.path)
        size = sum((checkpoint.path / name).stat().st_size for name in names)
    state, reason = _state(spec, checkpoint, cache)
    commit = checkpoint.revision if checkpoint is not None and spec.is_downloadable else None
    return Listed(spec, state, reason, commit, size, _converted_bytes(spec, cache))


def list_models(settings: Settings, as_json: bool) -> None:
    """Print all models of the table."""
    listed = [look(spec, settings.hf_hub_cache) for spec in settings.table().model]
    if as_json:
        print(json.dumps([_fields(each) for each in listed], indent=2, ensure_ascii=False))
        return
    head = ("KEY", "TASK", "FAMILY", "LICENCE", "SIZE", "STATE")
    lines = [
        (spec.key, spec.task, spec.family, spec.license, each.size, each.state)
        for each in listed
        for spec in [each.spec]
    ]
    widths = [max(map(len, column)) for column in zip(head, *lines, strict=True)]
    for line in (head, *lines):
        print(
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        )
    for each in listed:
        if each.reason is not None:
            print(f"{each.spec.key} is {each.state}: {each.reason}")
    print(f"SIZE is that on disk, in brackets that of the download. Cache: {settings.hf_hub_cache}")
    if (path := settings.present_rows_file()) is not None:
        print(f"Added rows: {path}")


def _state(spec: ModelSpec, checkpoint: Checkpoint | None, cache: Path) -> tuple[State, str | None]:
    if checkpoint is None:
        if spec.is_downloadable:
            return "not downloaded", None
        names = files_of(spec).in_words()
        return "damaged", f"{spec.path or 'this installation'} lacks one of {names}"
    try:
        check_sizes(spec, files_of(spec), checkpoint, cache)
        describe_checkpoint(spec, checkpoint).weights()
    except Unsupported as error:
        return "unsupported", str(error)
    except LoadError as error:
        return "damaged", str(error)
    if spec.is_downloadable:
        return "present", None
    return ("built-in" if spec.is_built_in else "local folder"), None


def _converted_bytes(spec: ModelSpec, cache: Path) -> int:
    places = converted.candidate_folders(store.repository_folder(cache, spec))
    paths = (path for place in places for path in place.rglob("*"))
    return sum(path.stat().st_size for path in paths if path.is_file())


def _fields(listed: Listed) -> dict[str, object]:
    spec = listed.spec
    return {
        "key": spec.key,
        "name": spec.title,
        "task": spec.task,
        "family": spec.family,
        "source": spec.source,
        "license": spec.license,
        "state": listed.state,
        "reason": listed.reason,
        "commit": listed.commit,
        "checkpoint_bytes": listed.checkpoint_bytes,
        "converted_bytes": listed.converted_bytes,
        "download": spec.download or None,
    }
