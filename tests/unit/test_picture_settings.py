# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests that pictures are prepared by the settings that transformers would take from two files."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from huggingface_hub.errors import EntryNotFoundError
from numpy.typing import NDArray
from transformers import AutoImageProcessor, Dinov2Config

from app.engines.base import LoadError, Unsupported
from app.hub.store import Checkpoint, find_checkpoint
from app.hub.transfer import transfer
from app.hub.verification import check_sizes
from app.lending.registry import files_of
from app.models import pretrained, transformers_pictures
from app.models.base import describe_checkpoint
from app.models.depth_family import DepthFamily
from app.models.embedding_family import EmbeddingFamily
from app.models.transformers_embedding import Transformers
from app.pictures.canvas import HostImages
from benchmarks.checkpoints import depth
from config.models import ModelSpec
from tests import tiny_depth, transformers_checkpoints
from tests.fake_hub import FakeHub
from tests.pictures import picture, upright
from tests.process.caches import SMALL, publish
from tests.process.caches import folder as repository

PICTURES, PROCESSOR = pretrained.PICTURES, pretrained.PROCESSOR
SIZE = (131, 97)
ONE, OTHER = [0.5, 0.4, 0.6], [0.3, 0.2, 0.1]


@dataclass(frozen=True)
class Kind:
    """A family of checkpoints, and two ways to prepare pictures that it supports."""

    family: str
    config: Callable[[], dict[str, Any]]
    first: dict[str, Any]
    second: dict[str, Any]


def _clip() -> dict[str, Any]:
    config: dict[str, Any] = transformers_checkpoints.CASES["clip"].config(500).to_dict()
    return config


def _dpt() -> dict[str, Any]:
    config: dict[str, Any] = tiny_depth.KINDS["vit"][1]().to_dict()
    return config


def _depth_anything() -> dict[str, Any]:
    backbone: Any = Dinov2Config(patch_size=14)
    return {"model_type": "depth_anything", "backbone_config": backbone.to_dict()}


_CLIP = transformers_checkpoints.CLIP_PICTURES
_DPT = tiny_depth.KINDS["hybrid"][2]
_SMALLER = {"size": {"height": 182, "width": 182}}
KINDS = {
    "clip": Kind("transformers", _clip, _CLIP, _CLIP | {"resample": 2, "image_mean": ONE}),
    "dpt": Kind("transformers_depth", _dpt, _DPT, _DPT | {"image_mean": OTHER, "resample": 2}),
    "depth anything": Kind(
        "depth_anything", _depth_anything, depth.PREPROCESSOR, depth.PREPROCESSOR | _SMALLER
    ),
}
#: for each case, the content of both files; None: there is no such file
CASES: dict[str, Callable[[Kind], tuple[object, object]]] = {
    "both, which differ": lambda kind: (kind.first, {"image_processor": kind.second}),
    "only the new one": lambda kind: (None, {"image_processor": kind.second}),
    "only the old one": lambda kind: (kind.first, None),
    "the new one lacks the part": lambda kind: (kind.first, {"processor_class": "CLIPProcessor"}),
    "the part is null": lambda kind: (kind.first, {"image_processor": None}),
}


def write(folder: Path, kind: Kind, old: object, new: object) -> tuple[ModelSpec, Checkpoint]:
    """Write a checkpoint without weights; return its row, too."""
    folder.mkdir(exist_ok=True)
    for name, content in (("config.json", kind.config()), (PICTURES, old), (PROCESSOR, new)):
        if content is not None:
            (folder / name).write_text(json.dumps(content))
    spec = ModelSpec(key="tiny", family=kind.family, path=folder)
    return spec, Checkpoint(folder, "main", folder)


def prepared(spec: ModelSpec, checkpoint: Checkpoint) -> NDArray[np.float32]:
    """The network's input for a picture, [3, h, w]."""
    family = describe_checkpoint(spec, checkpoint)
    photo, work = upright(picture(*SIZE)), HostImages()
    if isinstance(family, EmbeddingFamily):
        return family.prepare_image(photo, None, work)
    assert isinstance(family, DepthFamily)
    return family.prepare(photo, work)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", KINDS)
def test_the_same_settings_count_as_in_transformers(tmp_path: Path, name: str, case: str) -> None:
    kind = KINDS[name]
    ours = prepared(*write(tmp_path, kind, *CASES[case](kind)))
    auto: Any = AutoImageProcessor
    processor = auto.from_pretrained(tmp_path, backend="pil")
    theirs = processor(picture(*SIZE), return_tensors="np").pixel_values[0]
    assert ours.shape == theirs.shape
    assert np.abs(ours - theirs).max() < 1e-5


@pytest.mark.parametrize("name", KINDS)
def test_what_cannot_be_used_is_named_with_its_file(tmp_path: Path, name: str) -> None:
    kind = KINDS[name]
    spec, checkpoint = write(tmp_path, kind, kind.first, {"image_processor": {"resample": 0}})
    with pytest.raises(Unsupported, match=r"^image_processor in processor_config\.json"):
        describe_checkpoint(spec, checkpoint)
    (tmp_path / PROCESSOR).write_text('{"image_processor": []}')
    with pytest.raises(LoadError, match=r"^processor_config\.json is damaged"):
        describe_checkpoint(spec, checkpoint)
    (tmp_path / PROCESSOR).write_text("{}")
    (tmp_path / PICTURES).unlink()
    with pytest.raises(LoadError, match=r"and there is no preprocessor_config\.json"):
        describe_checkpoint(spec, checkpoint)


@pytest.mark.parametrize("case", ["both, which differ", "only the new one", "only the old one"])
def test_the_files_that_count_are_downloaded(
    tmp_path: Path, case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = KINDS["depth anything"]
    old, new = CASES[case](kind)
    more = {"config.json": json.dumps(kind.config()).encode()}
    more |= {PICTURES: json.dumps(old).encode()} if old else {}
    more |= {PROCESSOR: json.dumps(new).encode()} if new else {}
    commit = publish(tmp_path / "hub", b"weights", more=more)
    spec = ModelSpec(key="tiny", family=kind.family, hub_id=SMALL)
    if not old:  # ``publish`` has made one
        (repository(tmp_path / "hub") / "snapshots" / commit / PICTURES).unlink()
    files, cache = files_of(spec), tmp_path / "cache"
    with FakeHub(tmp_path / "hub").running() as hub:
        hub.is_used_here(monkeypatch)
        record = transfer(spec, files, cache, lambda *_: None, None)
        assert sorted(hub.gets) == sorted(record.files), "each file once"
    checkpoint = find_checkpoint(spec, files, cache)
    assert checkpoint is not None
    assert {PICTURES, PROCESSOR} & record.files.keys() == {PICTURES, PROCESSOR} & more.keys()
    assert files.are_complete(checkpoint.path, record.files)
    check_sizes(spec, files, checkpoint, cache)
    assert prepared(spec, checkpoint).shape[2] == (182 if new else 518)


def test_a_download_without_either_file_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = publish(tmp_path / "hub", b"weights")
    (repository(tmp_path / "hub") / "snapshots" / commit / PICTURES).unlink()
    spec = ModelSpec(key="tiny", family="depth_anything", hub_id=SMALL)
    with FakeHub(tmp_path / "hub").running() as hub:
        hub.is_used_here(monkeypatch)
        with pytest.raises(EntryNotFoundError):
            transfer(spec, files_of(spec), tmp_path / "cache", lambda *_: None, None)
    assert find_checkpoint(spec, files_of(spec), tmp_path / "cache") is None


@pytest.mark.parametrize("processor", ["CLIPImageProcessor", "DINOv3ViTImageProcessorFast"])
@pytest.mark.parametrize(
    "change",
    [
        {"size": {"height": 40, "width": 40}, "crop_size": 32, "do_center_crop": None},
        {"size": 40, "crop_size": 32, "do_normalize": None},
        {"size": 40, "crop_size": 32, "default_to_square": True},
        {"size": 40, "crop_size": 32, "default_to_square": False},
        {"size": 40, "crop_size": 32, "default_to_square": None},
    ],
)
def test_null_and_single_numbers_mean_what_transformers_takes_them_for(
    tmp_path: Path, processor: str, change: dict[str, Any]
) -> None:
    settings = {"image_processor_type": processor, "do_center_crop": True, "resample": 2, **change}
    (tmp_path / "config.json").write_text('{"model_type": "clip"}')
    (tmp_path / PICTURES).write_text(json.dumps(settings))
    load: Any = AutoImageProcessor.from_pretrained
    photo = picture(*SIZE)
    expected = np.asarray(load(tmp_path, backend="pil")(photo)["pixel_values"][0])
    read = transformers_pictures.read(settings, processor, PICTURES)
    family: Any = object.__new__(Transformers)
    vars(family).update(vars(read))
    ours = family.prepare_image(upright(photo), None, HostImages())
    assert ours.shape == expected.shape
    assert np.abs(ours - expected).max() * read.deviation.min() * 255 < 1.5
