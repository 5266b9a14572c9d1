# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests files that only some checkpoints have: downloading, recording, verifying, copying."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.cli.download import Ensured, Plan, ensure_checkpoint
from app.cli.problems import Failed
from app.engines.base import LoadError
from app.hub import lockfile
from app.hub.checkpoint_files import CheckpointFiles
from app.hub.downloads import Downloads
from app.hub.store import find_checkpoint
from app.hub.verification import check_sizes
from app.lending.registry import files_of
from app.models.depth_anything import DepthAnything
from config.models import ModelSpec
from config.settings import Settings
from tests.fake_hub import FakeHub
from tests.process.caches import folder, publish

OPTIONAL = ("tokenizer.json", "merges.txt")
FILES = CheckpointFiles(DepthAnything.FILES, OPTIONAL)
TOKENIZER = b'{"model": {}}'


@pytest.fixture
def spec() -> ModelSpec:
    return Settings().table().model[0]


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def fake_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    """A hub whose repository has a tokenizer.json, but no merges.txt."""
    publish(tmp_path / "published", b"weights", more={OPTIONAL[0]: TOKENIZER})
    with FakeHub(tmp_path / "published").running() as running:
        running.is_used_here(monkeypatch)
        yield running


@pytest.fixture
def used(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the family use the optional files, as if by a newer version of Twinlens."""
    monkeypatch.setattr(DepthAnything, "OPTIONAL_FILES", OPTIONAL)


def ensure(spec: ModelSpec, cache: Path, source: Path | None = None, **more: bool) -> Ensured:
    options = {"offline": False, "update": False} | more
    return ensure_checkpoint(spec, Plan(cache, source, **options), lambda *_: None)


def snapshot(cache: Path) -> Path:
    (found,) = folder(cache).glob("snapshots/*")
    return found


@pytest.mark.usefixtures("used")
@pytest.mark.parametrize("explains", [True, False])
def test_what_exists_is_downloaded_and_recorded(
    fake_hub: FakeHub, spec: ModelSpec, cache: Path, explains: bool
) -> None:
    fake_hub.explains = explains
    made = ensure(spec, cache)
    assert made.how == "downloaded"
    assert set(made.record.files) == {*DepthAnything.FILES, "tokenizer.json"}
    assert lockfile.pinned(spec, cache) == made.record
    assert (snapshot(cache) / "tokenizer.json").read_bytes() == TOKENIZER
    assert fake_hub.gets[-1] == "model.safetensors", "so that no other is missing when it is there"
    before = len(fake_hub.heads)
    again = ensure(spec, cache)
    assert (again.how, again.record) == ("verified", made.record)
    assert len(fake_hub.heads) == before, "merges.txt is not asked for again"


@pytest.mark.usefixtures("fake_hub")
def test_the_service_downloads_them_too(spec: ModelSpec, tmp_path: Path, cache: Path) -> None:
    life = os.pipe()
    downloads = Downloads(cache, tmp_path, offline=False, life=life)
    checkpoint = downloads.wait(spec, FILES)
    assert (checkpoint.path / "tokenizer.json").read_bytes() == TOKENIZER
    downloads.check(spec, FILES, checkpoint)
    downloads.verify(spec, FILES, checkpoint)
    recorded = sum(file.stat().st_size for file in checkpoint.path.iterdir())
    assert recorded < 1_000_000
    assert downloads.size(spec, FILES) == "1 MB", "as recorded, not as the table of models says"
    assert spec.download == "99 MB"
    os.close(life[1])


def test_a_download_goes_on_after_a_failure(
    fake_hub: FakeHub, spec: ModelSpec, cache: Path, used: None
) -> None:
    fake_hub.garble = True
    with pytest.raises(Failed, match=r"json arrived damaged"):
        ensure(spec, cache)
    assert find_checkpoint(spec, CheckpointFiles(DepthAnything.FILES), cache) is None
    fake_hub.garble = False
    assert "tokenizer.json" in ensure(spec, cache).record.files


def test_an_older_download_keeps_working_and_is_completed(
    fake_hub: FakeHub, spec: ModelSpec, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = ensure(spec, cache).record
    assert set(old.files) == set(DepthAnything.FILES)
    monkeypatch.setattr(DepthAnything, "OPTIONAL_FILES", OPTIONAL)
    checkpoint = find_checkpoint(spec, files_of(spec), cache)
    assert checkpoint is not None
    check_sizes(spec, FILES, checkpoint, cache)
    assert ensure(spec, cache, offline=True).how == "verified"
    fake_hub.refuse = 9
    assert ensure(spec, cache).how == "verified", "though nobody knows what the hub has"
    fake_hub.refuse = 0
    fake_hub.gets.clear()
    completed = ensure(spec, cache)
    assert completed.how == "downloaded"
    assert fake_hub.gets == ["tokenizer.json"]
    assert completed.record.files.keys() - old.files.keys() == {"tokenizer.json"}
    assert lockfile.pinned(spec, cache) == completed.record
    assert ensure(spec, cache).how == "verified"


@pytest.mark.usefixtures("fake_hub", "used")
def test_a_recorded_file_must_be_there_and_unchanged(spec: ModelSpec, cache: Path) -> None:
    record = ensure(spec, cache).record
    file = snapshot(cache) / "tokenizer.json"
    checkpoint = find_checkpoint(spec, CheckpointFiles(DepthAnything.FILES), cache)
    assert checkpoint is not None
    blob = file.resolve()
    blob.write_bytes(b"x" * len(TOKENIZER))
    with pytest.raises(Failed, match="is damaged or was changed"):
        ensure(spec, cache)
    blob.write_bytes(b"x")
    with pytest.raises(LoadError, match=r"tokenizer\.json is damaged"):
        check_sizes(spec, FILES, checkpoint, cache)
    blob.unlink()
    file.unlink()
    with pytest.raises(LoadError, match=r"tokenizer\.json is recorded, but missing"):
        check_sizes(spec, FILES, checkpoint, cache)
    check_sizes(spec, CheckpointFiles(DepthAnything.FILES), checkpoint, cache)
    with pytest.raises(Failed, match=r"Missing:\n  .*tokenizer\.json\n"):
        ensure(spec, cache, offline=True)
    assert ensure(spec, cache).record == record
    assert file.read_bytes() == TOKENIZER


@pytest.mark.usefixtures("fake_hub", "used")
def test_they_are_carried_along(spec: ModelSpec, cache: Path, tmp_path: Path) -> None:
    record = ensure(spec, cache).record
    copied = ensure(spec, tmp_path / "usb", cache, offline=True)
    assert (copied.how, copied.record) == ("copied", record)
    assert (snapshot(tmp_path / "usb") / "tokenizer.json").read_bytes() == TOKENIZER
    assert ensure(spec, tmp_path / "usb", offline=True).how == "verified"
