# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Finds the family of a checkpoint from its small files, before its weights are downloaded."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from app.adding.problems import NotUsable
from app.engines.base import LoadError
from app.hub import weights
from app.hub.checkpoint_files import CheckpointFiles
from app.hub.figures import size_text
from app.hub.lockfile import Record
from app.hub.store import Checkpoint, repository_folder
from app.lending.registry import files_of
from app.models.base import describe_checkpoint
from config.families import FAMILIES, family_class
from config.models import ModelSpec

log = logging.getLogger("twinlens.adding")

_CARD = "README.md"
# Limit for the sum of all files except the weights, which usually have far less: the largest
# tokenizers have about 35 MB.
_MOST_BYTES = 200_000_000
_LONGEST_LICENCE = 100
_POINTER = b"version https://git-lfs.github.com/spec/"
# SPDX names by the names that the hub uses, which are the same in lower case.
_LICENCES = {
    name.lower(): name
    for name in (
        "Apache-2.0",
        "MIT",
        "BSD-2-Clause",
        "BSD-3-Clause",
        "CC0-1.0",
        "CC-BY-4.0",
        "CC-BY-SA-4.0",
        "CC-BY-NC-4.0",
        "CC-BY-NC-SA-4.0",
        "CC-BY-NC-ND-4.0",
    )
}


@dataclass(frozen=True)
class Finding:
    """The result of examining a checkpoint."""

    #: the row with the checkpoint's family; it has no name, licence or sizes yet
    spec: ModelSpec
    #: bytes of all files that the model needs
    size: int
    #: number of parameters; None if it cannot be read from the weights file
    parameters: int | None
    #: why some of its networks, such as the text network, cannot be used
    limits: tuple[str, ...]


class Source(Protocol):
    """Where a checkpoint's files are: a folder, or a repository on the hub."""

    def read(self, names: Sequence[str]) -> Path:
        """Make the named small files available, as far as they exist; return their folder."""

    def sizes(self, spec: ModelSpec, files: CheckpointFiles) -> dict[str, int]:
        """The sizes of those files that exist.

        After this call the folder has all of them except the weights file, in place of which there
        may be an outline, see ``app.hub.transfer.outline``.
        """

    def checkpoint(self) -> Checkpoint:
        """The checkpoint with the files that are in the folder so far."""


class Folder:
    """A checkpoint in a folder of this machine."""

    def __init__(self, path: Path, revision: str = "local") -> None:
        self._path = path
        self._revision = revision

    def read(self, names: Sequence[str]) -> Path:  # noqa: ARG002
        """See ``Source``."""
        return self._path

    def sizes(self, spec: ModelSpec, files: CheckpointFiles) -> dict[str, int]:  # noqa: ARG002
        """See ``Source``."""
        chosen = files.in_folder(self._path)
        paths = {name: self._path / name for name in (*chosen.required, *chosen.optional)}
        return {name: path.stat().st_size for name, path in paths.items() if path.is_file()}

    def checkpoint(self) -> Checkpoint:
        """See ``Source``."""
        return Checkpoint(self._path, self._revision, self._path)


class Repository:
    """A checkpoint on the hub; the files that are read are downloaded to a temporary cache."""

    def __init__(self, spec: ModelSpec, cache: Path) -> None:
        self._spec = spec
        self._cache = cache
        self._record: Record | None = None

    def read(self, names: Sequence[str]) -> Path:
        """See ``Source``."""
        self._download(CheckpointFiles((), tuple(names)))
        return self.checkpoint().path

    def sizes(self, spec: ModelSpec, files: CheckpointFiles) -> dict[str, int]:
        """See ``Source``."""
        from app.hub.transfer import outline

        assert self._record is not None
        self._download(CheckpointFiles((), _small(files)))
        return outline(spec, files, self._cache, self._record)

    def checkpoint(self) -> Checkpoint:
        """See ``Source``."""
        assert self._record is not None
        folder = repository_folder(self._cache, self._spec)
        path = folder / "snapshots" / self._record.commit
        return Checkpoint(path, self._record.commit, folder)

    def downloaded(self, files: CheckpointFiles) -> Record:
        """The record of the files of a family that have been downloaded."""
        assert self._record is not None
        wanted = _small(files)
        found = {name: file for name, file in self._record.files.items() if name in wanted}
        return Record(commit=self._record.commit, files=found)

    def _download(self, files: CheckpointFiles) -> None:
        from app.hub.transfer import transfer

        made = transfer(self._spec, files, self._cache, _check_total, self._record)
        before = self._record.files if self._record is not None else {}
        self._record = Record(commit=made.commit, files=before | made.files)


def _small(files: CheckpointFiles) -> tuple[str, ...]:
    """The names of all files that do not hold the weights."""
    return tuple(name for name in files.all_names() if not files.are_weights(name))


def _check_total(_name: str, _done: int, total: int) -> None:
    """Raise NotUsable if the files to download are too large for files without weights."""
    if total > _MOST_BYTES:
        raise NotUsable(f"it cannot be used: its files beside the weights have {size_text(total)}")


def find_family(
    spec: ModelSpec, source: Source, family: str | None, how_to_say_activation: str
) -> Finding:
    """Find the family that a checkpoint belongs to.

    Args:
        spec: a row with the checkpoint's source; the family in it is ignored.
        source: the checkpoint's files.
        family: the only family to try; None: all that recognise the checkpoint.
        how_to_say_activation: added to the message if only the user can know the activation.

    Raises:
        NotUsable: no family can use the checkpoint; the message has a reason for each family that
            recognises it.
        LoadError: one of the checkpoint's small files is damaged.
    """
    described = _describing_files()
    folder = source.read([*described, _CARD])
    found = {name: _read_json(folder / name) for name in described if (folder / name).is_file()}
    names = [family] if family else [n for n in FAMILIES if family_class(n).recognises(found)]
    reasons = []
    for name in names:
        try:
            return _examine(spec.model_copy(update={"family": name}), source)
        except LoadError as error:
            hint = f" ({how_to_say_activation})" if "activation = " in str(error) else ""
            reasons.append(f"{spec.source} cannot be used as {name}: {error}{hint}")
    raise NotUsable("\n".join(reasons) or f"{spec.source} cannot be used: {_unknown(found)}")


def licence_in(folder: Path) -> str | None:
    """The licence that a checkpoint's model card states; None if it states none."""
    from huggingface_hub import metadata_load

    stated = None
    with suppress(Exception):  # a missing or damaged card counts as one that states nothing
        stated = metadata_load(folder / _CARD)
    if stated is None:
        return None
    licence = stated.get("license")
    if licence == "other":
        licence = stated.get("license_name") or licence
    if isinstance(licence, list) and len(licence) == 1:
        (licence,) = licence
    if not isinstance(licence, str) or len(licence) > _LONGEST_LICENCE or not licence.isprintable():
        return None
    return _LICENCES.get(licence.lower(), licence)


def _describing_files() -> list[str]:
    """The JSON files by which the families recognise their checkpoints."""
    names = [name for family in FAMILIES for name in family_class(family).FILES[:-1]]
    return list(dict.fromkeys(name for name in names if name.endswith(".json")))


def _read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file. Raises LoadError if there is none."""
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        raise LoadError(f"{path.name} is damaged: it holds no JSON object")
    return content


def _examine(spec: ModelSpec, source: Source) -> Finding:
    """Check that a family can use a checkpoint. Raises LoadError."""
    usual = files_of(spec)
    sizes = source.sizes(spec, usual)
    files = usual.chosen(sizes)
    missing = [name for name in files.required if name not in sizes]
    if missing:
        hint = ""
        if files.weights in missing:
            other = usual.substitute(str(files.weights))
            kinds = "in several files" if other else "in several files, or as pickles,"
            hint = f" (weights {kinds} have to be saved as {files.weights})"
        raise LoadError(f"it lacks {', '.join(missing)}{hint}")
    family = describe_checkpoint(spec, source.checkpoint())
    if isinstance(source, Folder):  # from the hub only a part of the weights file has been read
        _check_pointers(source.checkpoint().path, sizes)
        family.weights()
    first, *others = family.networks()
    family.check_network(first)
    limits = []
    for name in others:
        try:
            family.check_network(name)
        except LoadError as error:
            limits.append(f"{name}: {error}")
    assert files.weights is not None
    count = None
    try:
        count = weights.parameters(family.checkpoint.path / files.weights)
    except LoadError:
        raise
    except Exception as error:  # its parsers raise anything; the outline may lack the description
        log.debug("%s: its parameters are not known", spec.source, exc_info=error)
    return Finding(spec, sum(sizes.values()), count, tuple(limits))


def _check_pointers(folder: Path, names: Iterable[str]) -> None:
    """Raise LoadError if one of the files is a pointer that Git LFS keeps in its place."""
    for name in names:
        with (folder / name).open("rb") as file:
            if file.read(len(_POINTER)) == _POINTER:
                raise LoadError(
                    f"{name} is a pointer of Git LFS, not the file itself: `git lfs pull` in that "
                    "folder fetches it"
                )


def _unknown(found: Mapping[str, Mapping[str, Any]]) -> str:
    """Why no family recognises a checkpoint."""
    if not found:
        return f"it has none of {', '.join(_describing_files())}"
    config = found.get("config.json", {})
    stated = [
        f"{name} {config[name]!r}"[:100]
        for name in ("model_type", "architectures", "model_name", "architecture")
        if config.get(name)
    ]
    said = " and ".join(stated) or "nothing that is known"
    known = ", ".join(FAMILIES)
    return f"its {' and '.join(found)} says {said}; none of the families {known} recognises it"
