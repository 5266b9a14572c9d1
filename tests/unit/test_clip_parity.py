# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Compares our vectors of images with those of transformers' CLIP, which has the same weights.

The replaced service computed its vectors with transformers.
"""

from __future__ import annotations

import io
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import CLIPVisionModelWithProjection
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from app.engines.base import LoadError
from app.hub.checkpoint_files import CheckpointFiles
from app.hub.store import Checkpoint, find_checkpoint
from app.models.base import describe_checkpoint
from app.models.open_clip import OpenClip
from app.pictures.canvas import HostImages
from app.pictures.decode import decode
from benchmarks.checkpoints.clip import SHAPES
from benchmarks.models import ImageModel, checkpoint_of, load
from config.models import ModelSpec
from config.settings import Settings
from tests.pictures import encoded, picture, upright

PICTURES = {
    "poster": picture(500, 750, 1),
    "photo": picture(800, 600, 2),
    "one pixel matters": picture(224, 231, 3),  # a margin of 3.5 is floored, unlike in torchvision
    "one pixel matters, wide": picture(227, 224, 4),
    "smaller than the model": picture(90, 60, 5),
    "greyscale": picture(300, 300, 6).convert("L"),
    "palette": picture(300, 260, 7).quantize(64),
    "cmyk": picture(300, 260, 8).convert("CMYK"),
}


def load_both(hub: Path, key: str) -> tuple[ImageModel, Any, Any]:
    ours = load(hub, key)
    assert isinstance(ours, ImageModel)
    theirs = hub / f"models--{SHAPES[key].transformers_repository.replace('/', '--')}"
    folder = next((theirs / "snapshots").iterdir())
    network: Any = CLIPVisionModelWithProjection.from_pretrained(folder)
    return ours, network, CLIPImageProcessorPil.from_pretrained(folder)


@pytest.fixture(scope="module", params=["ViT-L-14", "ViT-B-16"])
def pair(request: pytest.FixtureRequest, hub: Path) -> tuple[ImageModel, Any, Any]:
    return load_both(hub, request.param)


@pytest.mark.parametrize("name", PICTURES)
def test_the_same_direction_to_five_nines(pair: tuple[ImageModel, Any, Any], name: str) -> None:
    ours, network, processor = pair
    image = PICTURES[name]
    with torch.inference_mode():
        inputs = processor(images=image, return_tensors="pt")
        expected = network(**inputs).image_embeds[0].numpy()
    # The picture goes through our decoder, so that its conversions are tested, too.
    kind = "TIFF" if image.mode == "CMYK" else "PNG"
    decoded = decode(io.BytesIO(encoded(image, kind)), 10**7).image
    vector = ours.finish(ours.infer(ours.prepare(upright(decoded))[None])[0], normalize=True)
    assert vector.shape == (ours.spec.dims,)
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-6)
    cosine = float(vector @ (expected / np.linalg.norm(expected)))
    assert cosine > 0.99999


def test_not_normalised_on_request(pair: tuple[ImageModel, Any, Any]) -> None:
    ours, network, processor = pair
    image = PICTURES["poster"]
    with torch.inference_mode():
        expected = network(**processor(images=image, return_tensors="pt")).image_embeds[0].numpy()
    vector = ours.finish(ours.infer(ours.prepare(upright(image))[None])[0], normalize=False)
    np.testing.assert_allclose(vector, expected, rtol=1e-3, atol=1e-4)


def test_image_size_shrinks_the_source_first(pair: tuple[ImageModel, Any, Any]) -> None:
    ours, _, _ = pair
    image = picture(900, 1200)
    shrunk = image.resize((512, 682), Image.Resampling.BICUBIC)
    assert np.array_equal(ours.prepare(upright(image), 512), ours.prepare(upright(shrunk)))
    assert ours.prepare(upright(image), 512).shape == ours.prepare(upright(image)).shape


@pytest.mark.parametrize("size", [(1, 3000), (3000, 1), (1, 1), (20000, 10)])
def test_a_thin_picture_costs_no_more_than_another(
    pair: tuple[ImageModel, Any, Any], size: tuple[int, int]
) -> None:
    ours, _, _ = pair
    for image_size in (None, 512, 4096):
        assert ours.prepare(upright(Image.new("RGB", size)), image_size).shape == (3, 224, 224)


def test_a_vector_that_is_none_is_refused() -> None:
    for broken in (np.zeros(4, np.float32), np.array([1, np.nan], np.float32)):
        with pytest.raises(ArithmeticError):
            ImageModel.finish(broken, normalize=True)


def altered(hub: Path, spec: ModelSpec, target: Path, **changes: object) -> Checkpoint:
    """Copy a checkpoint and change some values of its configuration."""
    checkpoint = find_checkpoint(spec, CheckpointFiles(OpenClip.FILES), hub)
    assert checkpoint is not None
    shutil.copytree(checkpoint.path, target)
    path = target / OpenClip.FILES[0]
    config = json.loads(path.read_text())
    config["model_cfg"] |= changes
    path.unlink()
    path.write_text(json.dumps(config))
    return replace(checkpoint, path=target)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (
            {"quick_gelu": False},
            "the checkpoint has activation gelu, the table of models quick_gelu",
        ),
        ({"embed_dim": 640}, "the checkpoint has dims 640, the table of models 768"),
    ],
)
def test_a_checkpoint_that_contradicts_the_table_is_refused(
    settings: Settings, hub: Path, tmp_path: Path, changes: dict[str, object], reason: str
) -> None:
    spec = next(spec for spec in settings.table().model if spec.key == "ViT-L-14")
    with pytest.raises(LoadError, match=reason):
        describe_checkpoint(spec, altered(hub, spec, tmp_path / "copy", **changes))


def test_a_damaged_checkpoint_is_refused(settings: Settings, hub: Path, tmp_path: Path) -> None:
    spec = next(spec for spec in settings.table().model if spec.key == "ViT-L-14")
    checkpoint = altered(hub, spec, tmp_path / "copy")
    weights = checkpoint.path / OpenClip.FILES[1]
    weights.write_bytes(weights.read_bytes()[:5000])
    with pytest.raises(LoadError, match="damaged") as error:
        describe_checkpoint(spec, checkpoint).source("image").module()
    assert str(tmp_path) not in str(error.value)


@pytest.mark.parametrize("usual", ["ViT-L-14", "ViT-B-16"])
def test_the_cache_of_another_program_gives_the_same_vectors(hub: Path, usual: str) -> None:
    """A row of the table uses what is in the cache in transformers' format, as it is."""
    wanted = (SHAPES[usual].repository, SHAPES[usual].transformers_repository)
    vectors = {}
    for spec in (row for row in Settings().table().model if row.hub_id in wanted):
        family: Any = describe_checkpoint(spec, checkpoint_of(spec, hub))
        pixels = family.prepare_image(upright(PICTURES["photo"]), None, HostImages())
        with torch.inference_mode():
            network = family.source("image").module()
            vectors[spec.family] = network(torch.from_numpy(pixels[None]))[0].numpy()
    np.testing.assert_allclose(vectors["transformers"], vectors["open_clip"], rtol=1e-3, atol=1e-4)
