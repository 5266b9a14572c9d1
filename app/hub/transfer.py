# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Downloads one checkpoint from the hub into the cache, and resumes interrupted downloads."""

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

# Entity tags and commits are checked, because they come from the hub and become parts of paths.
_NAME = re.compile(r"\w[\w.-]{0,99}", re.ASCII)
_POLL_SECONDS = 0.5


class ChecksumError(Exception):
    """A file does not have the expected checksum; a wrong download has been deleted."""


@dataclass(frozen=True)
class _File:
    """One file on the hub, and where it belongs on disk."""

    name: str
    url: str
    size: int
    #: the expected checksum; None if neither the hub nor a record states one
    sha256: str | None
    #: headers of the download request
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

    Partial downloads keep their names, so that they are resumed after a restart. The hub's own
    client would start again: since huggingface_hub 2 each attempt writes to a new temporary name.

    Args:
        spec: the model.
        files: the names of its files; the last one holds the weights.
        cache: the folder.
        progress: called after each 10 MiB.
        known: the record of the commit to download; None: the commit that ``spec.revision`` means
            on the hub today.
        update: download today's commit even if there is a record.

    Raises:
        OSError, huggingface_hub.errors.HfHubHTTPError, httpx errors: the hub or the disk failed.
        ChecksumError: the content differs from the hub's, the table's or the recorded checksum.
        LockFileError: the lock file cannot be used.
    """
    disable_progress_bars()
    # Warnings are turned off, because whatever the hub client warns of ends in an error anyway.
    set_verbosity_error()  # type: ignore[no-untyped-call]
    lockfile.pinned(spec, cache)  # raises if the lock file is damaged, before any download
    wanted, commit = _ask_hub(spec, files, cache, known, update)
    total, before = sum(file.size for file in wanted), 0
    found = {}
    for file in wanted:

        def report(done: int, name: str = file.name, before: int = before) -> None:
            progress(name, before + done, total)

        found[file.name] = FileRecord(size=file.size, sha256=_ensure_file(file, report))
        before += file.size
    fresh = Record(commit=commit, files=found)
    lockfile.record(spec, fresh, cache)
    store.set_reference(spec, commit, cache)
    return fresh


def _ask_hub(
    spec: ModelSpec, files: tuple[str, ...], cache: Path, known: Record | None, update: bool
) -> tuple[list[_File], str]:
    """Ask the hub for the metadata of each file; returns the files and their commit."""
    assert spec.hub_id is not None  # models without a hub id are never downloaded
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
        # All files come from the first one's commit, even if the branch moves meanwhile.
        revision = commit
        recorded = known.files.get(name) if known is not None and known.commit == commit else None
        sha256 = _expected_sha256(name, about, spec.sha256 if name == files[-1] else None, recorded)
        target = folder / "snapshots" / commit / name
        headers = build_hf_headers()
        # HF_TOKEN must reach only the hub, not the host that stores the hub's large files.
        if urlsplit(about.location).netloc != urlsplit(url).netloc:
            headers.pop("authorization", None)
        blob = folder / "blobs" / etag
        found.append(_File(name, about.location, size, sha256, headers, blob, target))
    return found, revision


def _expected_sha256(
    name: str, about: HfFileMetadata, pinned: str | None, recorded: FileRecord | None
) -> str | None:
    """The sha256 that a file must have, if it is known.

    Raises:
        ChecksumError: the hub offers a file with another checksum than the pinned or recorded one.
    """
    assert about.etag is not None
    # The entity tag of a large file on the hub is its sha256.
    expected = about.etag if len(about.etag) == SHA256_LENGTH else None
    for sha256, source in (
        (pinned, "that the table of models pins"),
        (recorded.sha256 if recorded else None, "that was recorded for this commit"),
    ):
        if sha256 is not None:
            if expected not in (None, sha256):
                raise ChecksumError(f"{name} on the hub is not the one {source}")
            expected = sha256
    return expected


def _ensure_file(file: _File, report: Callable[[int], None]) -> str:
    """Download a file unless it is on disk already; returns its sha256."""
    if file.target.is_file():
        return _verified_sha256(file, file.target, report)
    file.blob.parent.mkdir(parents=True, exist_ok=True)
    unfinished = file.blob.with_name(f"{file.blob.name}.twinlens-partial")
    with _open_exclusively(unfinished, report) as partial:
        # Another process may have completed the file meanwhile.
        if file.target.is_file():
            sha256 = _verified_sha256(file, file.target, report)
        else:
            if file.blob.is_file():
                sha256 = _verified_sha256(file, file.blob, report)
            else:
                sha256 = _fetch_blob(file, partial, unfinished)
            store.link_blob(file.blob, file.target)
        unfinished.unlink(missing_ok=True)
    return sha256


def _verified_sha256(file: _File, path: Path, report: Callable[[int], None]) -> str:
    sha256 = digest(path, report)
    if path.stat().st_size != file.size or file.sha256 not in (None, sha256):
        raise ChecksumError(
            f"{file.name} on disk is damaged or was changed: delete the model and download it again"
        )
    return sha256


def _fetch_blob(file: _File, partial: _ReportingFile, unfinished: Path) -> str:
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


class _ReportingFile(FileIO):
    """A file for appending and reading that reports its length after each write."""

    def __init__(self, path: Path, report: Callable[[int], None]) -> None:
        super().__init__(os.open(path, os.O_RDWR | os.O_CREAT, 0o644), "r+")
        self._report = report

    def write(self, data: ReadableBuffer, /) -> int:
        view = memoryview(data)
        written = 0
        while written < len(view):  # a single write may be incomplete
            written += super().write(view[written:])
        self._report(self.tell())
        return written


def _open_exclusively(path: Path, report: Callable[[int], None]) -> _ReportingFile:
    """Open and lock a partial file; waits while another process downloads it."""
    while True:
        file = _ReportingFile(path, report)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_file_at(path, file):
                return file
        except BlockingIOError:
            report(os.fstat(file.fileno()).st_size)
            time.sleep(_POLL_SECONDS)
        except BaseException:
            file.close()
            raise
        file.close()  # another process has completed or deleted this file: open the path again


def _is_file_at(path: Path, file: _ReportingFile) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False
