# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests converted networks on disk: where they are stored and found, and when they are redone."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from app.engines.base import EngineUnavailable, LoadError
from app.engines.openvino.conversions import Conversions
from app.host import memory
from app.hub.checkpoint_files import CheckpointFiles
from app.hub.store import Checkpoint, find_checkpoint, repository_folder
from app.lending.loader import Loader
from app.lending.registry import networks_of
from app.models.depth_anything import DepthAnything
from benchmarks.models import checkpoint_of, first_network, source
from config.settings import Settings
from config.values import EngineSetting
from tests.conftest import converted_models

# A conversion process ends when the other end of this pipe is closed. Here, as in the service, the
# other end stays open.
LIFE, _ = os.pipe()
SPEC = Settings().table().model[0]


def loader(engine: EngineSetting) -> Loader:
    return Loader.make(engine, "auto", "cpu", threads=1, life=LIFE)


@pytest.fixture
def copy(hub: Path, tmp_path: Path) -> tuple[Checkpoint, Conversions]:
    """Copy a checkpoint and its converted network, which a test may damage."""
    folder = repository_folder(hub, SPEC).name
    shutil.copytree(hub / folder, tmp_path / folder, symlinks=True)
    checkpoint = find_checkpoint(SPEC, CheckpointFiles(DepthAnything.FILES), tmp_path)
    assert checkpoint is not None
    return checkpoint, Conversions(half=True, life=LIFE)


def test_what_was_converted_is_found(copy: tuple[Checkpoint, Conversions]) -> None:
    checkpoint, conversions = copy
    folder = conversions.find_converted(source(SPEC, checkpoint))
    assert folder is not None
    assert folder.is_relative_to(checkpoint.path.parents[1])
    assert conversions.ensure(source(SPEC, checkpoint)) == folder
    assert Conversions(half=False, life=LIFE).find_converted(source(SPEC, checkpoint)) != folder


@pytest.mark.parametrize("damage", ["cut", "flipped", "gone", "no manifest", "empty"])
def test_damage_is_seen(copy: tuple[Checkpoint, Conversions], damage: str) -> None:
    checkpoint, conversions = copy
    folder = conversions.find_converted(source(SPEC, checkpoint))
    assert folder is not None
    weights = folder / "model.bin"
    data = bytearray(weights.read_bytes())
    match damage:
        case "cut":
            weights.write_bytes(data[:-10])
        case "flipped":
            data[len(data) // 2] ^= 1
            weights.write_bytes(data)
        case "gone":
            weights.unlink()
        case "no manifest":
            (folder / "manifest.json").unlink()
        case "empty":
            (folder / "manifest.json").write_bytes(b"")
    assert conversions.find_converted(source(SPEC, checkpoint)) is None


def test_another_checkpoint_needs_another_conversion(
    copy: tuple[Checkpoint, Conversions],
) -> None:
    checkpoint, conversions = copy
    other = replace(checkpoint, revision="another revision")
    assert conversions.find_converted(source(SPEC, other)) is None
    weights = checkpoint.path / DepthAnything.FILES[-1]
    content = weights.read_bytes()
    weights.unlink()
    weights.write_bytes(content)  # as if put there by hand, not by the hub's client
    assert conversions.find_converted(source(SPEC, checkpoint)) is None


def test_it_is_made_anew_and_what_is_out_of_date_goes(
    copy: tuple[Checkpoint, Conversions],
) -> None:
    checkpoint, conversions = copy
    folder = conversions.find_converted(source(SPEC, checkpoint))
    assert folder is not None
    (folder / "model.bin").write_bytes(b"damaged")
    old = folder.with_name("openvino-0123456789abcdef")
    shutil.copytree(folder, old)
    manifest = (old / "manifest.json").read_text()
    (old / "manifest.json").write_text(manifest.replace("openvino 20", "openvino 19"))
    (folder.parent / "tmpleft").mkdir()
    assert conversions.ensure(source(SPEC, checkpoint)) == folder
    assert conversions.find_converted(source(SPEC, checkpoint)) == folder
    left = {each.name for each in folder.parent.iterdir()}
    assert folder.name in left
    assert not {old.name, "tmpleft"} & left


def test_a_checkpoint_that_is_refused_says_why(copy: tuple[Checkpoint, Conversions]) -> None:
    checkpoint, conversions = copy
    weights = (checkpoint.path / DepthAnything.FILES[-1]).resolve()
    weights.write_bytes(weights.read_bytes()[:5000])
    with pytest.raises(LoadError, match="damaged") as error:
        conversions.ensure(source(SPEC, checkpoint))
    assert not isinstance(error.value, EngineUnavailable)
    assert str(checkpoint.path) not in str(error.value)


def test_what_failed_is_not_tried_again_at_once(
    copy: tuple[Checkpoint, Conversions], monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint, conversions = copy
    weights = (checkpoint.path / DepthAnything.FILES[-1]).resolve()
    shutil.rmtree(checkpoint.path.parents[1] / "twinlens")
    monkeypatch.setattr(memory, "free", lambda _: 2 * weights.stat().st_size)
    for _ in range(2):
        with pytest.raises(EngineUnavailable, match=r"needs \d+ MB of memory and"):
            conversions.ensure(source(SPEC, checkpoint))
        monkeypatch.setattr(memory, "free", lambda _: pytest.fail("tried again"))


def test_a_copy_takes_its_conversion_along(
    copy: tuple[Checkpoint, Conversions], tmp_path: Path
) -> None:
    checkpoint, conversions = copy
    repository = checkpoint.path.parents[1]
    other = tmp_path / "elsewhere" / repository.name
    shutil.copytree(repository, other, symlinks=True, copy_function=shutil.copyfile)
    moved = find_checkpoint(SPEC, CheckpointFiles(DepthAnything.FILES), other.parent)
    assert moved is not None
    folder = conversions.find_converted(source(SPEC, moved))
    assert folder is not None
    assert folder.is_relative_to(other)


def test_a_cache_that_cannot_be_written(
    copy: tuple[Checkpoint, Conversions], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint, conversions = copy
    beside = checkpoint.path.parents[1] / "twinlens"
    shutil.rmtree(beside)
    beside.touch()  # because of this file, not even root can make the folder
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    folder = conversions.ensure(source(SPEC, checkpoint))
    assert folder.is_relative_to(tmp_path / "home")
    assert conversions.find_converted(source(SPEC, checkpoint)) == folder


def test_torch_where_nothing_can_be_stored(
    copy: tuple[Checkpoint, Conversions], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint, _ = copy
    for place in (checkpoint.path.parents[1] / "twinlens", tmp_path / "home"):
        shutil.rmtree(place, ignore_errors=True)
        place.touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    assert loader("auto").load(first_network(SPEC), checkpoint, "cpu").network.engine == "torch"
    with pytest.raises(EngineUnavailable, match="cannot be stored"):
        loader("openvino").load(first_network(SPEC), checkpoint, "cpu")


def test_every_network_of_every_model_has_a_conversion_of_its_own(hub: Path) -> None:
    conversions = Conversions(half=True, life=LIFE)
    found = []
    for spec in converted_models():
        checkpoint = checkpoint_of(spec, hub)
        for id in networks_of(spec):
            network = source(spec, checkpoint, id.name)
            assert network.input_shape[0] is None
            found.append(conversions.find_converted(network))
    assert None not in found
    assert len(set(found)) == len(found)
