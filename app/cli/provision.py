# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Let a checkpoint be in a folder, verified: from there, from another cache, from the hub."""

from __future__ import annotations

import logging
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from app.cli.problems import Failed
from app.hub import lockfile, store
from app.hub.carry import carry
from app.hub.hub_problems import explain
from app.hub.lockfile import LockFileError, Record
from app.hub.verification import Damaged, Progress, verify
from app.lending.registry import files_of
from config.models import ModelSpec

log = logging.getLogger("twinlens.cli")


@dataclass(frozen=True)
class Plan:
    """From where to where."""

    #: the cache that shall have the models
    cache: Path
    #: another one, to take them from
    source: Path | None
    offline: bool
    #: do not hold to the commit that is recorded
    update: bool


@dataclass(frozen=True)
class Brought:
    """What is there now, and how it came. "recorded": nothing was known to compare it with."""

    record: Record
    how: Literal["downloaded", "copied", "recorded", "verified"]


def bring(spec: ModelSpec, plan: Plan, progress: Progress) -> Brought:
    """Bring one model. Raises Failed: the message says why and what to do."""
    try:
        return (
            (None if plan.update else _from_there(spec, plan, progress))
            or _from_another(spec, plan, progress)
            or _from_the_hub(spec, plan, progress)
        )
    except Damaged as error:
        again = f"`python -m app download {spec.key}`"
        if plan.offline:
            again += " where there is internet"
        raise Failed(
            f"{spec.key}: {error}. Delete it (rm {shlex.quote(str(error.path))}) and run {again} "
            "again"
        ) from None
    except LockFileError as error:
        raise Failed(f"{spec.key}: {error}") from None
    except OSError as error:
        raise Failed(
            f"{spec.key}: {error.filename or plan.cache}: {error.strerror or error}; both folders "
            "must be readable, and the one to fill needs space and the right to write"
        ) from None


def _from_there(spec: ModelSpec, plan: Plan, progress: Progress) -> Brought | None:
    files = files_of(spec)
    here = store.find(spec, files, plan.cache)
    if here is None:
        return None
    known = lockfile.pinned(spec, plan.cache)
    found = verify(spec, files, here, known, progress)
    if known is not None and known.files.keys() >= set(files):
        return Brought(found, "verified")
    lockfile.record(spec, found, plan.cache)
    return Brought(found, "recorded")


def _from_another(spec: ModelSpec, plan: Plan, progress: Progress) -> Brought | None:
    # An update asks the hub, where there is one.
    if plan.source is None or (plan.update and not plan.offline):
        return None
    files = files_of(spec)
    there = store.find(spec, files, plan.source)
    if there is None:
        return None
    known = None if plan.update else lockfile.pinned(spec, plan.cache)
    if known is not None and known.commit != there.revision:
        if plan.offline:
            raise Failed(
                f"{spec.key}: {plan.cache} records commit {known.commit}, {plan.source} has "
                f"{there.revision}: pass --update to take that one"
            )
        return None
    known = known or lockfile.pinned(spec, plan.source)
    found = verify(spec, files, there, known, progress)
    carry(spec, there, found, plan.cache)
    return Brought(found, "copied")


def _from_the_hub(spec: ModelSpec, plan: Plan, progress: Progress) -> Brought:
    files = files_of(spec)
    known = lockfile.pinned(spec, plan.cache)
    if known is None and plan.source is not None:
        known = lockfile.pinned(spec, plan.source)
    if plan.offline:
        raise Failed(_absent(spec, files, plan, known))
    before = store.find(spec, files, plan.cache)
    # It asks the environment when it is imported, which the command has set meanwhile.
    from app.hub.transfer import transfer

    try:
        made = transfer(spec, files, plan.cache, progress, known, plan.update)
    except LockFileError:
        raise
    except Exception as error:
        told = explain(error, spec, known if not plan.update else None)
        log.debug("%s failed", spec.key, exc_info=error)
        where = f"{spec.hub_id} to {plan.cache}"
        raise Failed(f"{spec.key}: {told.reason} ({where}): {told.advice}") from None
    was_there = before is not None and before.revision == made.commit
    return Brought(made, "verified" if was_there else "downloaded")


def _absent(spec: ModelSpec, files: tuple[str, ...], plan: Plan, known: Record | None) -> str:
    folder = store.repository_folder(plan.cache, spec)
    commit = known.commit if known else store.known_commit(spec, plan.cache)
    snapshot = folder / "snapshots" / (commit or "COMMIT")
    lines = [f"{spec.key}: {spec.hub_id} is not on disk, and HF_HUB_OFFLINE is set. Missing:"]
    lines += [f"  {snapshot / name}" for name in files if not (snapshot / name).is_file()]
    if commit is None:
        lines.append(f"  {folder / 'refs' / spec.revision}, a file with the name of the commit")
    lines += [
        "On a machine with internet run",
        f"  python -m app download {spec.key} --output DIR",
        "bring DIR here and either use it (HF_HUB_CACHE=DIR) or add it to this cache:",
        f"  HF_HUB_CACHE=DIR HF_HUB_OFFLINE=1 python -m app download {spec.key} --output "
        f"{shlex.quote(str(plan.cache))}",
    ]
    return "\n".join(lines)
