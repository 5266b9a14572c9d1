# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""``python -m app download``: downloads and verifies models, for this or another machine.

``ensure_checkpoint`` takes a model from the first of three places that has it: the cache to fill,
another cache on disk (with ``--output``), or the hub.
"""

from __future__ import annotations

import argparse
import logging
import os
import re
import shlex
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from app.adding import rows
from app.cli.problems import Failed, Interrupted, UsageError
from app.cli.session import Stop, quiet
from app.hub import lockfile, store
from app.hub.checkpoint_files import CheckpointFiles
from app.hub.downloads import ONLINE, ProgressLog
from app.hub.hub_problems import explain
from app.hub.lockfile import LockFileError, Record
from app.hub.store import Checkpoint
from app.hub.verification import Damaged, Progress, verify
from app.lending.registry import Registry, files_of
from app.tasks import sharp
from config.logging import configure_logging
from config.models import ModelSpec
from config.names import key_hint
from config.settings import ROWS_IN_CACHE, Settings, load_settings

log = logging.getLogger("twinlens.cli")

_POLL_SECONDS = 0.2
_COMMIT = re.compile(r"[0-9a-f]{40}\Z")


@dataclass(frozen=True)
class Plan:
    """Where the models come from and where they go."""

    #: the cache to fill
    cache: Path
    #: another cache to copy models from
    source: Path | None
    offline: bool
    #: take the commit that the hub has today instead of the recorded one
    update: bool


@dataclass(frozen=True)
class Ensured:
    """A checkpoint that is on disk now, and how it got there or was checked.

    "recorded" means that it was on disk, but without recorded checksums to verify it against.
    """

    record: Record
    how: Literal["downloaded", "copied", "recorded", "verified"]


def download(arguments: argparse.Namespace, stop: Stop) -> int:
    """Run the command and return the number of models that failed.

    Raises:
        SettingsError, UsageError, Interrupted, AddingError.
    """
    settings = quiet(load_settings())
    configure_logging(settings)
    specs = _chosen(arguments.models, settings)
    plan = _plan(arguments, settings)
    if not plan.offline:
        os.environ.update(ONLINE)
    failed = 0
    for spec in specs:
        if spec.is_sharp:
            _say(f"{spec.key} is Apple's program, which is not downloaded here: {sharp.PAGE}")
            continue
        if spec.is_built_in:
            _say(f"{spec.key} is a part of the program: there is nothing to download")
            continue
        if spec.path is not None:
            _say(f"{spec.key} is in the folder {spec.path}: there is nothing to download")
            continue
        try:
            with logging_redirect_tqdm():
                brought = _ensure_with_progress(spec, plan, stop)
        except Failed as error:
            _say(str(error))
            failed += 1
        else:
            size = sum(file.size for file in brought.record.files.values())
            columns = (spec.key, spec.hub_id, brought.record.commit, size, brought.how)
            print(*columns, sep="\t", flush=True)
    if plan.source is not None:
        # The other machine has to know the user's rows of these models, too.
        keys = [spec.key for spec in specs if spec.is_downloadable]
        rows.copy(settings.rows_file, plan.cache / ROWS_IN_CACHE, keys)
    if arguments.output is not None and not failed:
        _say(_what_to_copy(plan.cache, specs))
    return failed


def _chosen(names: Sequence[str], settings: Settings) -> list[ModelSpec]:
    """The named models, each once; the default models if none is named.

    Raises:
        UsageError: a model is unknown.
    """
    if not names:
        return list(Registry(settings).defaults.values())
    known = {spec.key: spec for spec in settings.table().model}
    unknown = [f"{name!r}{key_hint(name, known)}" for name in names if name not in known]
    if unknown:
        raise UsageError(f"unknown: {', '.join(unknown)}; known: {', '.join(known)}")
    return [known[name] for name in dict.fromkeys(names)]


def _plan(arguments: argparse.Namespace, settings: Settings) -> Plan:
    """The plan for these arguments and settings. Raises UsageError."""
    present = settings.hf_hub_cache.absolute()
    cache: Path = present if arguments.output is None else arguments.output.absolute()
    source = present if cache.resolve() != present.resolve() else None
    offline = settings.hf_hub_offline
    if arguments.update and offline and source is None:
        raise UsageError("--update asks the hub, but HF_HUB_OFFLINE is set")
    if arguments.output is not None:
        try:
            cache.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"--output {cache}: cannot be made ({error.strerror})") from None
    return Plan(cache, source, offline, arguments.update)


def _ensure_with_progress(spec: ModelSpec, plan: Plan, stop: Stop) -> Ensured:
    """Ensure one checkpoint and show the progress. Raises Failed, Interrupted.

    The work runs in a daemon thread, so that an interruption need not wait for it.
    """
    result: Future[Ensured] = Future()
    seen = (0, 0)
    progress_log = ProgressLog()

    def progress(_name: str, done: int, total: int) -> None:
        nonlocal seen
        seen = done, total

    def work() -> None:
        try:
            result.set_result(ensure_checkpoint(spec, plan, progress))
        except BaseException as error:
            result.set_exception(error)

    threading.Thread(target=work, name=f"bring-{spec.key}", daemon=True).start()
    with tqdm(desc=spec.key, unit="B", unit_scale=True, disable=None) as bar:
        while True:
            wait([result], _POLL_SECONDS)
            bar.n, bar.total = seen
            bar.refresh()
            # Without a terminal tqdm shows no progress bar.
            if bar.disable and (told := progress_log.line(*seen)):
                _say(f"{spec.key}: {told}")
            if result.done():
                return result.result()
            if stop.is_requested():
                raise Interrupted


def ensure_checkpoint(spec: ModelSpec, plan: Plan, progress: Progress) -> Ensured:
    """Make sure that a model is in the cache and that its files are verified.

    Raises:
        Failed: the message says why and what to do.
    """
    try:
        return (
            (None if plan.update else _verify_existing(spec, plan, progress))
            or _copy_from_source(spec, plan, progress)
            or _download_from_hub(spec, plan, progress)
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


def _verify_existing(spec: ModelSpec, plan: Plan, progress: Progress) -> Ensured | None:
    files = files_of(spec)
    known = lockfile.pinned(spec, plan.cache)
    present = _find_complete(spec, files, plan.cache, known)
    if present is None:
        return None
    found = verify(spec, files, present, known, progress)
    is_recorded = known is not None and known.files.keys() >= found.files.keys()
    if not is_recorded:
        lockfile.record(spec, found, plan.cache)
    if further := _download_optional(spec, files, plan, found):
        return Ensured(further, "downloaded")
    return Ensured(found, "verified" if is_recorded else "recorded")


def _find_complete(
    spec: ModelSpec, files: CheckpointFiles, cache: Path, known: Record | None
) -> Checkpoint | None:
    """The checkpoint, if it is on disk with all files that are recorded for it."""
    present = store.find_checkpoint(spec, files, cache)
    recorded = known.files if known is not None else ()
    return present if present and files.are_complete(present.path, recorded) else None


def _download_optional(
    spec: ModelSpec, files: CheckpointFiles, plan: Plan, found: Record
) -> Record | None:
    """Download the optional files of a checkpoint that was downloaded without them.

    An older version of Twinlens, or another program, did not need them. The checkpoint works
    without them, so that a failure is only reported.

    Returns:
        The record of all its files; None if there are no further ones.
    """
    wanted = tuple(
        name
        for name in files.optional
        if name not in found.files
        and not store.is_marked_absent(spec, found.commit, name, plan.cache)
    )
    if not wanted or plan.offline or not spec.is_downloadable or not _COMMIT.match(found.commit):
        return None
    from app.hub.transfer import transfer

    try:
        further = transfer(spec, CheckpointFiles((), wanted), plan.cache, lambda *_: None, found)
    except Exception as error:
        log.debug("%s: optional files", spec.key, exc_info=error)
        reason = explain(error, spec, found).reason
        log.warning("%s: whether it has %s is not known: %s", spec.key, ", ".join(wanted), reason)
        return None
    return Record(commit=found.commit, files=found.files | further.files) if further.files else None


def _copy_from_source(spec: ModelSpec, plan: Plan, progress: Progress) -> Ensured | None:
    # An update needs the hub, unless this machine is offline.
    if plan.source is None or (plan.update and not plan.offline):
        return None
    files = files_of(spec)
    there = _find_complete(spec, files, plan.source, lockfile.pinned(spec, plan.source))
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
    store.copy_checkpoint(spec, there, found, plan.cache)
    return Ensured(found, "copied")


def _download_from_hub(spec: ModelSpec, plan: Plan, progress: Progress) -> Ensured:
    files = files_of(spec)
    known = lockfile.pinned(spec, plan.cache)
    if known is None and plan.source is not None:
        known = lockfile.pinned(spec, plan.source)
    if plan.offline:
        raise Failed(_missing_message(spec, files, plan, known))
    before = store.find_checkpoint(spec, files, plan.cache)
    # Imported only here, because the hub client reads at import the HF_HUB_OFFLINE that
    # ``download`` sets.
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
    return Ensured(made, "verified" if was_there else "downloaded")


def _missing_message(
    spec: ModelSpec, files: CheckpointFiles, plan: Plan, known: Record | None
) -> str:
    folder = store.repository_folder(plan.cache, spec)
    commit = known.commit if known else store.known_commit(spec, plan.cache)
    snapshot = folder / "snapshots" / (commit or "COMMIT")
    lines = [f"{spec.key}: {spec.hub_id} is not on disk, and HF_HUB_OFFLINE is set. Missing:"]
    names = files.expected(snapshot, known.files if known else ())
    lines += [f"  {snapshot / name}" for name in names if not (snapshot / name).is_file()]
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


def _what_to_copy(folder: Path, specs: Sequence[ModelSpec]) -> str:
    keys = " ".join(spec.key for spec in specs if not spec.is_built_in)
    return (
        f"Copy all of {shlex.quote(str(folder))} to the other machine, with its links (tar, rsync "
        "-a, cp -a), and there\n"
        f"  check it:  HF_HUB_CACHE=COPY HF_HUB_OFFLINE=1 python -m app download {keys}\n"
        "  use it:    HF_HUB_CACHE=COPY HF_HUB_OFFLINE=1 gunicorn\n"
        "  or mount it at /cache/hub of a container, with HF_HUB_OFFLINE=1"
    )


def _say(text: str) -> None:
    print(text, file=sys.stderr)
