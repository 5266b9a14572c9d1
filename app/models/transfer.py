# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Bring one checkpoint from the hub into the cache, resuming what an earlier try left."""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Callable
from functools import partial
from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

from huggingface_hub import HfFileMetadata, get_hf_file_metadata, hf_hub_download, hf_hub_url
from huggingface_hub.file_download import http_get
from huggingface_hub.utils._headers import build_hf_headers
from huggingface_hub.utils.logging import set_verbosity_error
from huggingface_hub.utils.tqdm import disable_progress_bars

from app.models import atomic
from app.models.store import repository_folder
from config.models import ModelSpec

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

Progress = Callable[[str, int, int], None]
"""Called with the file's name, bytes of all files on disk and in total, after each 10 MiB."""

# Hub files above this size are stored with their sha256 as entity tag.
_SHA256_LENGTH = 64


class ChecksumError(Exception):
    """The bytes that arrived are not those that were promised; they have been deleted."""


def transfer(spec: ModelSpec, files: tuple[str, ...], cache: Path, progress: Progress) -> None:
    """Download ``files`` of one commit into the cache.

    hf_hub_download alone would start from zero after a restart: since huggingface_hub 2 each try
    writes to a temporary name of its own. So the large part, the blob, is fetched here to a name
    that survives; the hub client then finds the blob and adds links and references.

    Raises:
        OSError, huggingface_hub.errors.HfHubHTTPError, httpx errors: the hub or the disk failed.
        ChecksumError: the content differs from the hub's or the table's checksum.
    """
    assert spec.hub_id is not None  # nobody downloads what is built in
    disable_progress_bars()
    set_verbosity_error()  # type: ignore[no-untyped-call] # its warnings come as an error at the end, too
    revision = spec.revision
    found: dict[str, HfFileMetadata] = {}
    for name in files:
        found[name] = metadata = get_hf_file_metadata(
            hf_hub_url(spec.hub_id, name, revision=revision)
        )
        if metadata.etag is None or metadata.commit_hash is None or metadata.size is None:
            raise OSError(f"the hub says too little about {name}")
        # All files come from the commit of the first, whatever happens to the branch meanwhile.
        revision = metadata.commit_hash
    total, before = sum(metadata.size or 0 for metadata in found.values()), 0
    for name, metadata in found.items():
        assert metadata.etag is not None
        assert metadata.size is not None
        sha256 = metadata.etag if len(metadata.etag) == _SHA256_LENGTH else None
        if name == files[-1] and spec.sha256 is not None:
            if sha256 not in (None, spec.sha256):
                raise ChecksumError(
                    f"{name} on the hub is not the one that the table of models pins"
                )
            sha256 = spec.sha256
        blob = repository_folder(cache, spec) / "blobs" / metadata.etag
        if not blob.exists():
            report = partial(_report, progress, name, before, total)
            _fetch_blob(metadata.location, blob, name, metadata.size, sha256, report)
        before += metadata.size
        hf_hub_download(spec.hub_id, name, revision=revision, cache_dir=cache)
    _point_reference(spec, revision, cache)


def _report(progress: Progress, name: str, before: int, total: int, done: int) -> None:
    progress(name, before + done, total)


def _fetch_blob(
    url: str,
    blob: Path,
    name: str,
    size: int,
    sha256: str | None,
    report: Callable[[int], None],
) -> None:
    blob.parent.mkdir(parents=True, exist_ok=True)
    unfinished = blob.with_name(f"{blob.name}.twinlens-partial")
    with _Counted(unfinished, report) as file:
        # Another service may share the cache: whoever comes second waits, then finds the blob.
        fcntl.flock(file, fcntl.LOCK_EX)
        if blob.exists():
            return
        start = file.seek(0, os.SEEK_END)
        if start > size:
            start = file.truncate(file.seek(0))
        http_get(
            url,
            cast(BinaryIO, file),
            resume_size=start,
            expected_size=size,
            headers=build_hf_headers(),
        )
        os.fsync(file.fileno())
        if sha256 is not None and _sha256(unfinished) != sha256:
            unfinished.unlink()
            raise ChecksumError(f"{name} arrived damaged: its sha256 is not {sha256}")
        os.replace(unfinished, blob)


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


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _point_reference(spec: ModelSpec, commit: str, cache: Path) -> None:
    """Let refs/<branch> name the commit, last: only then does the checkpoint count as there."""
    if spec.revision == commit:
        return
    reference = repository_folder(cache, spec) / "refs" / spec.revision
    reference.parent.mkdir(parents=True, exist_ok=True)
    atomic.write_text(reference, commit)
