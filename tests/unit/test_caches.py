# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests caches on file systems without links, and simultaneous writers of the lock file."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from app.hub import lockfile, store
from app.hub.checkpoint_files import CheckpointFiles
from app.hub.lockfile import Record
from app.hub.store import copy_checkpoint
from app.hub.verification import verify
from app.models.depth_anything import DepthAnything
from config.models import ModelSpec
from config.settings import Settings
from tests.process.caches import publish

FILES = DepthAnything.FILES


@pytest.fixture
def spec() -> ModelSpec:
    return Settings().table().model[0]


def no_links(*_arguments: object, **_options: object) -> None:
    raise PermissionError(1, "Operation not permitted")


def test_a_disk_without_links(
    tmp_path: Path, spec: ModelSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cache can be copied to FAT and exFAT, which have no links.

    An attempt to make a link fails there with the error that ``no_links`` raises.
    """
    publish(tmp_path / "cache", b"weights")
    checkpoint = store.find_checkpoint(spec, CheckpointFiles(FILES), tmp_path / "cache")
    assert checkpoint is not None
    verified = verify(spec, CheckpointFiles(FILES), checkpoint, None, lambda *_: None)
    monkeypatch.setattr(Path, "symlink_to", no_links)
    monkeypatch.setattr(os, "link", no_links)
    for _ in range(2):
        copy_checkpoint(spec, checkpoint, verified, tmp_path / "disk")
    copied = store.find_checkpoint(spec, CheckpointFiles(FILES), tmp_path / "disk")
    assert copied is not None
    assert verify(spec, CheckpointFiles(FILES), copied, verified, lambda *_: None) == verified
    files = [path for path in (tmp_path / "disk").rglob("*") if path.is_file()]
    weights = [path for path in files if path.read_bytes() == b"weights"]
    assert weights == [copied.path / FILES[-1]], "once, and no link"


def test_records_of_many_writers_are_all_kept(tmp_path: Path, spec: ModelSpec) -> None:
    def write(number: int) -> None:
        other = spec.model_copy(update={"hub_id": f"owner/name{number}"})
        lockfile.record(other, Record(commit=f"{number}", files={}), tmp_path)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(40)))
    for number in range(40):
        found = lockfile.pinned(spec.model_copy(update={"hub_id": f"owner/name{number}"}), tmp_path)
        assert found == Record(commit=f"{number}", files={})


def test_another_revision_in_the_table_has_a_record_of_its_own(
    tmp_path: Path, spec: ModelSpec
) -> None:
    lockfile.record(spec, Record(commit="a", files={}), tmp_path)
    tagged = spec.model_copy(update={"revision": "v1"})
    assert lockfile.pinned(tagged, tmp_path) is None
    lockfile.record(tagged, Record(commit="b", files={}), tmp_path)
    assert lockfile.pinned(spec, tmp_path) == Record(commit="a", files={})
