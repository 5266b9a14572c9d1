# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""``python -m app models add``: finds a checkpoint's family, and writes its row."""

from __future__ import annotations

import argparse
import logging
import os
import re
import tempfile
from pathlib import Path

from pydantic import ValidationError

from app.cli.models import rows
from app.cli.models.discovery import (
    Finding,
    Folder,
    Repository,
    find_family,
    licence_in,
)
from app.cli.problems import Failed, UsageError
from app.engines.base import LoadError
from app.hub import store
from app.hub.downloads import ONLINE
from app.hub.figures import parameters_text, size_text
from app.hub.hub_problems import explain
from app.hub.lockfile import LockFileError
from app.lending.registry import files_of
from config.families import FAMILIES
from config.models import ModelSpec
from config.settings import Settings

log = logging.getLogger("twinlens.cli")

# The address of a repository's page, as copied from a browser.
_PAGE = re.compile(r"(?:https?://)?(?:huggingface\.co|hf\.co)/([\w.-]+/[\w.-]+)(?:/.*)?")
_FLOAT32_BYTES = 4


def add(arguments: argparse.Namespace, settings: Settings) -> None:
    """Add a model to the user's rows. Raises Failed, UsageError."""
    spec = _spec(arguments)
    path = settings.rows_file
    if not arguments.replace:
        _check_key(spec.key, path, settings)
    if spec.hub_id is None:
        assert spec.path is not None
        if not spec.path.is_dir():
            raise UsageError(f"{spec.path} is no folder")
        finding, licence = _examine(spec, Folder(spec.path), arguments)
    elif settings.hf_hub_offline:
        finding, licence = _examine(spec, _present(spec, settings.hf_hub_cache), arguments)
    else:
        finding, licence = _examine_on_hub(spec, settings.hf_hub_cache, arguments)
    rows.put(path, _row(finding, arguments.license or licence, arguments))
    _report(finding, arguments.license or licence, path, settings)


def _spec(arguments: argparse.Namespace) -> ModelSpec:
    """A row with key and source. Raises UsageError."""
    text: str = arguments.source
    source: dict[str, object]
    if page := _PAGE.fullmatch(text):
        source = {"hub_id": page[1]}
    elif text.startswith(("/", ".", "~")):
        source = {"path": Path(text).expanduser().resolve()}
    else:
        source = {"hub_id": text}
    row = {"key": arguments.key, "family": next(iter(FAMILIES)), **source}
    row["activation"] = arguments.activation
    if arguments.revision:
        row["revision"] = arguments.revision
    try:
        return ModelSpec.model_validate(row)
    except ValidationError as error:
        names = {str(each["loc"][0]) for each in error.errors() if each["loc"]}
        if "key" in names:
            raise UsageError(
                f"key {arguments.key!r}: allowed: up to 64 letters, digits, '.', '_' and '-'"
            ) from None
        if "hub_id" in names:
            raise UsageError(
                f"{text!r}: give a repository of the hub (OWNER/NAME) or a folder (/PATH, ./PATH)"
            ) from None
        raise UsageError(error.errors()[0]["msg"]) from None


def _check_key(key: str, path: Path, settings: Settings) -> None:
    """Raise UsageError if a model has the key already."""
    if key in rows.keys(path):
        raise UsageError(f"{path} has a row {key}: pass --replace, or choose another key")
    if key in {spec.key for spec in settings.table().model}:
        raise UsageError(
            f"{key} is built in: pass --replace to use another checkpoint under this key, or "
            "choose another key"
        )


def _examine(
    spec: ModelSpec, source: Folder, arguments: argparse.Namespace
) -> tuple[Finding, str | None]:
    try:
        finding = find_family(spec, source, arguments.family)
    except LoadError as error:
        raise Failed(f"{spec.source} cannot be used: {error}") from None
    except OSError as error:
        raise Failed(f"{spec.source} cannot be read ({error.strerror})") from None
    return finding, licence_in(source.checkpoint().path)


def _present(spec: ModelSpec, cache: Path) -> Folder:
    """What the cache has of a repository, for a machine that is offline. Raises Failed."""
    commit = store.known_commit(spec, cache) or spec.revision
    folder = store.repository_folder(cache, spec) / "snapshots" / commit
    if not folder.is_dir():
        raise Failed(
            f"{spec.hub_id} is not in {cache}, and HF_HUB_OFFLINE is set: copy its files to a "
            "folder of this machine and add that one"
        )
    return Folder(folder, commit)


def _examine_on_hub(
    spec: ModelSpec, cache: Path, arguments: argparse.Namespace
) -> tuple[Finding, str | None]:
    """Find the family from the small files on the hub, and keep those in the cache.

    So the download takes the same commit, which was examined. What is refused leaves no files.

    Raises:
        Failed.
    """
    os.environ.update(ONLINE)  # before the hub client is imported
    with tempfile.TemporaryDirectory(prefix="twinlens-") as folder:
        repository = Repository(spec, Path(folder))
        try:
            finding = find_family(spec, repository, arguments.family)
            licence = licence_in(repository.checkpoint().path)
        except Failed:
            raise
        except LoadError as error:
            raise Failed(f"{spec.source} cannot be used: {error}") from None
        except Exception as error:
            log.debug("%s failed", spec.source, exc_info=error)
            told = explain(error, spec)
            raise Failed(f"{spec.source}: {told.reason}: {told.advice}") from None
        try:
            small = repository.downloaded(files_of(finding.spec))
            store.copy_checkpoint(spec, repository.checkpoint(), small, cache)
        except (OSError, LockFileError) as error:
            # The model can be added nevertheless; its download will say what is wrong.
            log.warning("%s: its small files are not kept: %s", spec.key, error)
    return finding, licence


def _row(finding: Finding, licence: str | None, arguments: argparse.Namespace) -> rows.Row:
    spec = finding.spec
    values = {
        "key": spec.key,
        "family": spec.family,
        "name": arguments.name or spec.source.rsplit("/", 1)[-1],
        "hub_id": spec.hub_id,
        "path": str(spec.path) if spec.path is not None else None,
        "revision": arguments.revision,
        "activation": spec.activation,
        "license": licence,
    }
    if finding.parameters:
        values["parameters"] = parameters_text(finding.parameters)
        values["memory"] = f"~{size_text(_FLOAT32_BYTES * finding.parameters).replace(' ', '')}"
    if spec.is_downloadable:
        values["download"] = size_text(finding.size)
    return {name: value for name, value in values.items() if value is not None}


def _report(finding: Finding, licence: str | None, path: Path, settings: Settings) -> None:
    spec = finding.spec
    facts = [f"family {spec.family}", f"licence {licence or 'not stated'}"]
    if finding.parameters:
        facts.append(f"{parameters_text(finding.parameters)} parameters")
    if spec.is_downloadable:
        facts.append(f"{size_text(finding.size)} to download")
    print(f"added {spec.key} to {path}: {', '.join(facts)}")
    for limit in finding.limits:
        print(f"not usable: {limit}")
    if licence is None:
        print("its page says under which licence it may be used; --license writes it into the row")
    elif "-NC" in licence.upper():
        print("this licence does not permit commercial use")
    print("next:")
    if spec.is_downloadable:
        print(f"  python -m app download {spec.key}")
    print(f"  python -m app models check {spec.key}   compares it with the reference library")
    default = "DEPTH_MODEL" if spec.task == "depth" else "DEFAULT_MODEL"
    print(
        "  restart the service (docker compose restart, or SIGHUP to gunicorn); requests then name "
        f"model={spec.key}, or {default}={spec.key} makes it the default"
    )
    if settings.models_file is None:
        print(f"The service reads {path} unless MODELS_FILE names another file.")
