# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Bring one checkpoint from the hub into the cache, resuming what an earlier try left."""

from __future__ import annotations

import fcntl
import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast
from urllib.parse import urlsplit

from huggingface_hub import HfFileMetadata, get_hf_file_metadata, hf_hub_url
from huggingface_hub.file_download import http_get
from huggingface_hub.utils._headers import build_hf_headers
from huggingface_hub.utils.logging import set_verbosity_error
from huggingface_hub.utils.tqdm import disable_progress_bars

from app.hub import lockfile, store
from app.hub.lockfile import FileRecord, Record
from app.hub.verification import SHA256_LENGTH, Progress, digest
from config.models import ModelSpec

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

# Both come from the hub and become a part of paths.
_NAME = re.compile(r"\w[\w.-]{0,99}", re.ASCII)
_LOOK_SECONDS = 0.5


class ChecksumError(Exception):
    """Bytes are not those that were promised; those that arrived so have been deleted."""


@dataclass(frozen=True)
class _File:
    """One file as the hub has it, and its places here."""

    name: str
    url: str
    size: int
    #: None: nobody says it
    sha256: str | None
    #: headers with which it is asked for
    headers: dict[str, str]
    blob: Path
    target: Path


def transfer(
    spec: ModelSpec,
    files: tuple[str, ...],
    cache: Path,
    progress: Progress,
    known: Record | None,
    update: bool = False,
) -> Record:
    """Download ``files`` of one commit into the cache, and record them in its lock file.

    The hub's own client would start from zero after a restart: since huggingface_hub 2 each try
    writes to a temporary name of its own. Here a blob is fetched to a name that survives.

    Args:
        spec: the model.
        files: what belongs to it; the last one holds the weights.
        cache: the folder.
        progress: told after each 10 MiB.
        known: the commit to take, and what is known of its files; None: whichever
            ``spec.revision`` means today.
        update: take the latter anyway.

    Raises:
        OSError, huggingface_hub.errors.HfHubHTTPError, httpx errors: the hub or the disk failed.
        ChecksumError: the content differs from the hub's, the table's or the recorded checksum.
        LockFileError: it cannot be recorded.
    """
    disable_progress_bars()
    set_verbosity_error()  # type: ignore[no-untyped-call] # its warnings come as an error at the end, too
    lockfile.pinned(spec, cache)  # raises now rather than after the download
    wanted, commit = _ask(spec, files, cache, known, update)
    total, before = sum(file.size for file in wanted), 0
    found = {}
    for file in wanted:

        def report(done: int, name: str = file.name, before: int = before) -> None:
            progress(name, before + done, total)

        found[file.name] = FileRecord(size=file.size, sha256=_bring(file, report))
        before += file.size
    fresh = Record(commit=commit, files=found)
    lockfile.record(spec, fresh, cache)
    store.point(spec, commit, cache)
    return fresh


def _ask(
    spec: ModelSpec, files: tuple[str, ...], cache: Path, known: Record | None, update: bool
) -> tuple[list[_File], str]:
    """Ask the hub about each file; gives the commit, too."""
    assert spec.hub_id is not None  # nobody downloads what is built in
    folder = store.repository_folder(cache, spec)
    revision = known.commit if known is not None and not update else spec.revision
    found = []
    for name in files:
        url = hf_hub_url(spec.hub_id, name, revision=revision)
        about = get_hf_file_metadata(url)
        etag, commit, size = about.etag, about.commit_hash, about.size
        if etag is None or commit is None or size is None:
            raise OSError(f"the hub says too little about {name}")
        if not _NAME.fullmatch(etag) or not _NAME.fullmatch(commit):
            raise OSError(f"the hub gives {name} an impossible name")
        # All files come from the commit of the first, whatever happens to the branch meanwhile.
        revision = commit
        recorded = known.files.get(name) if known is not None and known.commit == commit else None
        sha256 = _promised(name, about, spec.sha256 if name == files[-1] else None, recorded)
        target = folder / "snapshots" / commit / name
        headers = build_hf_headers()
        # A token is for the hub, not for the host that keeps its large files.
        if urlsplit(about.location).netloc != urlsplit(url).netloc:
            headers.pop("authorization", None)
        blob = folder / "blobs" / etag
        found.append(_File(name, about.location, size, sha256, headers, blob, target))
    return found, revision


def _promised(
    name: str, about: HfFileMetadata, pinned: str | None, recorded: FileRecord | None
) -> str | None:
    """The sha256 that a file must have. Raises ChecksumError: the hub has another file."""
    assert about.etag is not None
    # The hub's large files have their sha256 as entity tag.
    promised = about.etag if len(about.etag) == SHA256_LENGTH else None
    for sha256, by_whom in (
        (pinned, "that the table of models pins"),
        (recorded.sha256 if recorded else None, "that was recorded for this commit"),
    ):
        if sha256 is not None:
            if promised not in (None, sha256):
                raise ChecksumError(f"{name} on the hub is not the one {by_whom}")
            promised = sha256
    return promised


def _bring(file: _File, report: Callable[[int], None]) -> str:
    """Let the file be in its place; gives its sha256."""
    if file.target.is_file():
        return _on_disk(file, file.target, report)
    file.blob.parent.mkdir(parents=True, exist_ok=True)
    unfinished = file.blob.with_name(f"{file.blob.name}.twinlens-partial")
    with _alone(unfinished, report) as partial:
        # Another process may have brought it meanwhile.
        if file.target.is_file():
            sha256 = _on_disk(file, file.target, report)
        else:
            if file.blob.is_file():
                sha256 = _on_disk(file, file.blob, report)
            else:
                sha256 = _fetch(file, partial, unfinished)
            store.place(file.blob, file.target)
        unfinished.unlink(missing_ok=True)
    return sha256


def _on_disk(file: _File, path: Path, report: Callable[[int], None]) -> str:
    sha256 = digest(path, report)
    if path.stat().st_size != file.size or file.sha256 not in (None, sha256):
        raise ChecksumError(
            f"{file.name} on disk is damaged or was changed: delete the model and download it again"
        )
    return sha256


def _fetch(file: _File, partial: _Counted, unfinished: Path) -> str:
    start = partial.seek(0, os.SEEK_END)
    if start > file.size:
        start = partial.truncate(partial.seek(0))
    http_get(
        file.url,
        cast(BinaryIO, partial),
        resume_size=start,
        expected_size=file.size,
        headers=file.headers,
    )
    os.fsync(partial.fileno())
    sha256 = digest(unfinished)
    if file.sha256 not in (None, sha256):
        unfinished.unlink()
        raise ChecksumError(f"{file.name} arrived damaged: its sha256 is not {file.sha256}")
    os.replace(unfinished, file.blob)
    return sha256


class _Counted(FileIO):
    """A file, open for appending and reading, that reports how long it is after each write."""

    def __init__(self, path: Path, report: Callable[[int], None]) -> None:
        super().__init__(os.open(path, os.O_RDWR | os.O_CREAT, 0o644), "r+")
        self._report = report

    def write(self, data: ReadableBuffer, /) -> int:
        view = memoryview(data)
        written = 0
        while written < len(view):  # a raw file may take less than it is given
            written += super().write(view[written:])
        self._report(self.tell())
        return written


def _alone(path: Path, report: Callable[[int], None]) -> _Counted:
    """Open a partial file for this process alone; wait while another one downloads it."""
    while True:
        file = _Counted(path, report)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_at(path, file):
                return file
        except BlockingIOError:
            report(os.fstat(file.fileno()).st_size)
            time.sleep(_LOOK_SECONDS)
        except BaseException:
            file.close()
            raise
        file.close()  # it was finished or thrown away meanwhile


def _is_at(path: Path, file: _Counted) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False
