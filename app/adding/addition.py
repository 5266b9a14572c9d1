# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Finds the family of a checkpoint on the hub, and makes its row for the table of models."""

from __future__ import annotations

import logging
import re
import tempfile
from pathlib import Path

from app.adding.discovery import Finding, Repository, find_family, licence_in
from app.adding.problems import AddingError, HubFailed, NotUsable
from app.adding.rows import Row
from app.engines.base import LoadError
from app.hub import store
from app.hub.figures import parameters_text, size_text
from app.hub.hub_problems import explain
from app.hub.lockfile import LockFileError
from app.lending.registry import files_of
from config.models import ModelSpec

log = logging.getLogger("twinlens.adding")

KEY_RULE = "allowed: up to 64 letters, digits, '.', '_' and '-'"
# The address of a repository's page, as copied from a browser.
_PAGE = re.compile(r"(?:https?://)?(?:huggingface\.co|hf\.co)/([\w.-]+/[\w.-]+)(?:[/?#].*)?")
_FLOAT32_BYTES = 4


def repository_in(text: str) -> str | None:
    """The repository whose page on the hub has this address; None if it is no such address."""
    page = _PAGE.fullmatch(text)
    return page[1] if page else None


def examine_on_hub(
    spec: ModelSpec, cache: Path, family: str | None, how_to_say_activation: str
) -> tuple[Finding, str | None]:
    """Find a checkpoint's family and licence from its small files on the hub.

    The small files are kept in the cache, so that a later download takes the commit that was
    examined here. A checkpoint that is refused leaves no files. The environment must allow the hub
    client to connect (``ONLINE``).

    Raises:
        NotUsable, HubFailed.
    """
    with tempfile.TemporaryDirectory(prefix="twinlens-") as folder:
        repository = Repository(spec, Path(folder))
        try:
            finding = find_family(spec, repository, family, how_to_say_activation)
            licence = licence_in(repository.checkpoint().path)
        except NotUsable:
            raise
        except LoadError as error:
            raise NotUsable(f"{spec.source} cannot be used: {error}") from None
        except Exception as error:
            log.debug("%s failed", spec.source, exc_info=error)
            raise _failed(error, spec) from None
        try:
            small = repository.downloaded(files_of(finding.spec))
            store.copy_checkpoint(spec, repository.checkpoint(), small, cache)
        except (OSError, LockFileError) as error:
            # The model can be added nevertheless: its download will report the problem.
            log.warning("%s: its small files are not kept: %s", spec.key, error)
    return finding, licence


def row_of(finding: Finding, licence: str | None, name: str | None, revision: str | None) -> Row:
    """The row of a checkpoint that a family can use.

    Args:
        finding: the result of examining the checkpoint.
        licence: its licence; None: not known.
        name: the name to display; None: that of the repository or folder.
        revision: the branch or commit that the user named; None: the main branch.
    """
    spec = finding.spec
    values = {
        "key": spec.key,
        "family": spec.family,
        "name": name or spec.source.rsplit("/", 1)[-1],
        "hub_id": spec.hub_id,
        "path": str(spec.path) if spec.path is not None else None,
        "revision": revision,
        "activation": spec.activation,
        "license": licence,
    }
    if finding.parameters:
        values["parameters"] = parameters_text(finding.parameters)
        values["memory"] = f"~{size_text(_FLOAT32_BYTES * finding.parameters).replace(' ', '')}"
    if spec.is_downloadable:
        values["download"] = size_text(finding.size)
    return {name: value for name, value in values.items() if value is not None}


def is_not_commercial(licence: str) -> bool:
    """Whether a licence's name says that it does not permit commercial use."""
    return "-NC" in licence.upper()


def _failed(error: Exception, spec: ModelSpec) -> AddingError:
    """The AddingError for an error of the hub client."""
    from huggingface_hub.errors import (
        EntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    told = explain(error, spec)
    message = f"{spec.source}: {told.reason}: {told.advice}"
    # This includes GatedRepoError, which is a subclass of RepositoryNotFoundError.
    if isinstance(error, RepositoryNotFoundError | RevisionNotFoundError | EntryNotFoundError):
        return NotUsable(message, f"{spec.source}: {told.reason}")
    return HubFailed(
        message,
        f"{spec.source}: {told.reason}. Try again later; if that does not help, whoever runs the "
        "service checks its network (HTTPS_PROXY, HF_ENDPOINT): its log has details",
    )
