# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Downloads one checkpoint from the hub into the cache, and resumes interrupted downloads."""

from __future__ import annotations

import fcntl
import logging
import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast
from urllib.parse import urlsplit

from huggingface_hub import HfFileMetadata, get_hf_file_metadata, get_session, hf_hub_url
from huggingface_hub.errors import (
    HfHubHTTPError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.file_download import http_get
from huggingface_hub.utils._headers import build_hf_headers
from huggingface_hub.utils._http import hf_raise_for_status
from huggingface_hub.utils.logging import set_verbosity_error
from huggingface_hub.utils.tqdm import disable_progress_bars

from app.hub import lockfile, store, weights
from app.hub.checkpoint_files import CheckpointFiles
from app.hub.lockfile import FileRecord, Record
from app.hub.verification import SHA256_LENGTH, Progress, digest
from config.models import ModelSpec

log = logging.getLogger("twinlens.download")

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

# Entity tags and commits are checked, because they come from the hub and become parts of paths.
_NAME = re.compile(r"\w[\w.-]{0,99}", re.ASCII)
_POLL_SECONDS = 0.5
# A safetensors file begins with the length of its header.
_LENGTH_BYTES = 8
_LARGEST_HEADER = 100_000_000
# Most headers fit into this many bytes, and so do the pickle at the beginning of a zip archive and
# the directory at its end.
_FIRST_BYTES = 2**20
_LAST_BYTES = 2**20
_PARTIAL_CONTENT = 206


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
    files: CheckpointFiles,
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
        files: the names of its files; optional files that the commit lacks are left out.
        cache: the folder.
        progress: called at the beginning of each file, and after each 10 MiB.
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


def outline(spec: ModelSpec, files: CheckpointFiles, cache: Path, known: Record) -> dict[str, int]:
    """Ask how large the files of a commit are, and make an outline of its weights file.

    The outline is a sparse file with the description of the tensors and the size of the weights
    file, and zeros in place of the weights. Whoever reads the names and shapes of tensors sees no
    difference.

    Args:
        spec: the model.
        files: the names of its files.
        cache: a temporary folder, because the outline must not be taken for the checkpoint.
        known: the record of the commit.

    Returns:
        The sizes by name; a required file that the repository lacks is left out, too, and a
        substitute that is not needed.

    Raises:
        OSError, huggingface_hub.errors.HfHubHTTPError, httpx errors: the hub or the disk failed.
    """
    names = CheckpointFiles((), files.all_names())
    wanted, _ = _ask_hub(spec, names, cache, known, update=False)
    chosen = files.chosen([file.name for file in wanted])
    wanted = [file for file in wanted if file.name in (*chosen.required, *chosen.optional)]
    for file in wanted:
        if file.name == chosen.weights and file.size >= _LENGTH_BYTES:
            is_pickled = weights.are_pickled(file.target)
            begin = _fetch(file, 0, _FIRST_BYTES) if is_pickled else _fetch_header(file)
            end = _fetch(file, max(0, file.size - _LAST_BYTES), file.size) if is_pickled else b""
            file.target.parent.mkdir(parents=True, exist_ok=True)
            with file.target.open("wb") as sparse:
                sparse.write(begin)
                sparse.truncate(file.size)
                sparse.seek(file.size - len(end))
                sparse.write(end)
    return {file.name: file.size for file in wanted}


def _fetch(file: _File, first: int, stop: int) -> bytes:
    """Some bytes of a file; none if the server ignores that only a range is asked for."""
    asked = {**file.headers, "Range": f"bytes={first}-{min(stop, file.size) - 1}"}
    found = b""
    with get_session().stream("GET", file.url, headers=asked) as response:
        hf_raise_for_status(response)
        if first and response.status_code != _PARTIAL_CONTENT:
            return b""
        for piece in response.iter_bytes():
            found += piece
            if len(found) >= stop - first:
                break
    return found[: stop - first]


def _fetch_header(file: _File) -> bytes:
    """The first bytes of a weights file (safetensors): the length of its header, and the header."""
    found, wanted = b"", _LENGTH_BYTES
    asked = {**file.headers, "Range": f"bytes=0-{_FIRST_BYTES - 1}"}
    while len(found) < wanted:
        asked["Range"] = f"bytes=0-{max(wanted, _FIRST_BYTES) - 1}"
        # Read as a stream, because a server may ignore the range and send the whole file.
        with get_session().stream("GET", file.url, headers=asked) as response:
            hf_raise_for_status(response)
            found = b""
            for piece in response.iter_bytes():
                found += piece
                if len(found) >= _LENGTH_BYTES:
                    wanted = _LENGTH_BYTES + int.from_bytes(found[:_LENGTH_BYTES], "little")
                if wanted > min(file.size, _LARGEST_HEADER) or len(found) >= wanted:
                    break
        if wanted > min(file.size, _LARGEST_HEADER):
            raise OSError(f"{file.name} is no safetensors file")
    return found[:wanted]


def _ask_hub(
    spec: ModelSpec, files: CheckpointFiles, cache: Path, known: Record | None, update: bool
) -> tuple[list[_File], str]:
    """Ask the hub for the metadata of each file; returns the files and their commit.

    The file with the weights is the last one: as soon as it is in place, the service may take the
    checkpoint for complete.
    """
    assert spec.hub_id is not None  # models without a hub id are never downloaded
    folder = store.repository_folder(cache, spec)
    revision = known.commit if known is not None and not update else spec.revision
    found = []
    required, optional = [*files.required], [*files.optional]
    while required or optional:
        is_required = bool(required)
        name = (required or optional).pop(0)
        url = hf_hub_url(spec.hub_id, name, revision=revision)
        try:
            about = get_hf_file_metadata(url)
        except HfHubHTTPError as error:
            if not _lacks_file(error):
                raise
            if not is_required:
                store.mark_absent(spec, revision, name, cache)
                continue
            other = files.substitute(name)
            if other is None:
                raise
            log.warning("%s has no %s; downloading its %s instead", spec.hub_id, name, other)
            required.append(other)
            optional = [each for each in optional if each != other]
            continue
        etag, commit, size = about.etag, about.commit_hash, about.size
        if etag is None or commit is None or size is None:
            raise OSError(f"the hub's answer about {name} is incomplete")
        if not _NAME.fullmatch(etag) or not _NAME.fullmatch(commit):
            raise OSError(f"the hub's checksum or commit of {name} is malformed")
        # All files come from the first one's commit, even if the branch moves meanwhile.
        revision = commit
        recorded = known.files.get(name) if known is not None and known.commit == commit else None
        pinned = spec.sha256 if files.are_weights(name) else None
        sha256 = _expected_sha256(name, about, pinned, recorded)
        target = folder / "snapshots" / commit / name
        headers = build_hf_headers()
        # HF_TOKEN must reach only the hub, not the host that stores the hub's large files.
        if urlsplit(about.location).netloc != urlsplit(url).netloc:
            headers.pop("authorization", None)
        blob = folder / "blobs" / etag
        found.append(_File(name, about.location, size, sha256, headers, blob, target))
    found.sort(key=lambda file: files.are_weights(file.name))
    return found, revision


def _lacks_file(error: HfHubHTTPError) -> bool:
    """Whether the hub says that a repository lacks a file, though it has the commit."""
    # Mirrors answer 404 without the hub's own header, which would make it an EntryNotFoundError.
    return error.response.status_code == 404 and not isinstance(
        error, RepositoryNotFoundError | RevisionNotFoundError
    )


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
    partial.report()  # a resumed download would otherwise seem to begin anew until its first write
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
        self.report()
        return written

    def report(self) -> None:
        """Report the present length."""
        self._report(self.tell())


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
