# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""``python -m app models add``: finds a checkpoint's family, and adds its row to the table."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from pydantic import ValidationError

from app.adding import rows
from app.adding.addition import (
    KEY_RULE,
    examine_on_hub,
    is_not_commercial,
    repository_in,
    row_of,
)
from app.adding.additions import RESERVED_KEYS
from app.adding.discovery import Finding, Folder, find_family, licence_in
from app.cli.problems import Failed, UsageError
from app.engines.base import LoadError
from app.hub import store
from app.hub.downloads import ONLINE
from app.hub.figures import parameters_text, size_text
from config.families import FAMILIES
from config.models import ModelSpec
from config.settings import Settings

_HOW_TO_SAY_ACTIVATION = "--activation says it here"


def add(arguments: argparse.Namespace, settings: Settings) -> None:
    """Add a model to the user's rows. Raises Failed, UsageError, AddingError."""
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
        os.environ.update(ONLINE)  # must be set before the hub client is imported
        finding, licence = examine_on_hub(
            spec, settings.hf_hub_cache, arguments.family, _HOW_TO_SAY_ACTIVATION
        )
    licence = arguments.license or licence
    row = row_of(finding, licence, arguments.name, arguments.revision)
    rows.put(path, row, replace=arguments.replace)
    _report(finding, licence, path, settings)


def _spec(arguments: argparse.Namespace) -> ModelSpec:
    """A preliminary row with the key and the source. Raises UsageError."""
    text: str = arguments.source
    if arguments.key in RESERVED_KEYS:
        raise UsageError(f"key {arguments.key!r} is taken: choose another")
    source: dict[str, object]
    if repository := repository_in(text):
        source = {"hub_id": repository}
    elif text.startswith(("/", ".", "~")):
        try:
            source = {"path": Path(text).expanduser().resolve()}
        except RuntimeError:  # ~NAME of a user that this machine does not have
            raise UsageError(f"{text!r}: there is no such home folder") from None
    else:
        source = {"hub_id": text}
    for given in (*map(str, source.values()), arguments.name, arguments.license):
        # Python replaces bytes that are not UTF-8 by characters that UTF-8 cannot write.
        if given and given.encode(errors="replace").decode() != given:
            raise UsageError(f"{given!r} is not UTF-8, so it cannot be written into a row")
    row = {"key": arguments.key, "family": next(iter(FAMILIES)), **source}
    row["activation"] = arguments.activation
    if arguments.revision:
        row["revision"] = arguments.revision
    try:
        return ModelSpec.model_validate(row)
    except ValidationError as error:
        names = {str(each["loc"][0]) for each in error.errors() if each["loc"]}
        if "key" in names:
            raise UsageError(f"key {arguments.key!r}: {KEY_RULE}") from None
        if "hub_id" in names:
            raise UsageError(
                f"{text!r}: give a repository of the hub (OWNER/NAME) or a folder (/PATH, ./PATH)"
            ) from None
        raise UsageError(error.errors()[0]["msg"]) from None


def _check_key(key: str, path: Path, settings: Settings) -> None:
    """Raise UsageError if a model already has this key."""
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
    """Find the family of a checkpoint on this machine. Raises NotUsable, Failed."""
    try:
        finding = find_family(spec, source, arguments.family, _HOW_TO_SAY_ACTIVATION)
    except LoadError as error:
        raise Failed(f"{spec.source} cannot be used: {error}") from None
    except OSError as error:
        raise Failed(f"{spec.source} cannot be read ({error.strerror})") from None
    return finding, licence_in(source.checkpoint().path)


def _present(spec: ModelSpec, cache: Path) -> Folder:
    """The folder of a repository's files in the cache, to use offline. Raises Failed."""
    commit = store.known_commit(spec, cache) or spec.revision
    folder = store.repository_folder(cache, spec) / "snapshots" / commit
    if not folder.is_dir():
        raise Failed(
            f"{spec.hub_id} is not in {cache}, and HF_HUB_OFFLINE is set: copy its files to a "
            "folder of this machine and add that one"
        )
    return Folder(folder, commit)


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
    elif is_not_commercial(licence):
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
