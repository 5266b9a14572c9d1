# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests the benchmark's checkpoint of SigLIP 2, and the reference that it is compared with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch

from app.engines.base import FloatArray
from app.pictures.decode import Picture
from benchmarks.ceiling import flop
from benchmarks.checkpoints import clip, depth, depth3, siglip
from benchmarks.contenders import BESIDE, references
from benchmarks.models import ImageModel, TextModel, load
from benchmarks.plan import FULL, QUICK
from benchmarks.reference.folders import folder
from benchmarks.reference.networks import OpenClip
from tests.pictures import picture, upright

KEY = "siglip2-b16-256"
TEXTS = ["a photo of a cat", "Ein Bild, größer!", "漢字 🎉", "word " * 100]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("siglip")
    siglip.make(KEY, small_scale=True).write(target)
    return target


def test_vectors_are_those_of_the_reference(cache: Path) -> None:
    ours = load(cache, KEY)
    assert isinstance(ours, ImageModel)
    assert ours.weights == "random"
    reference = OpenClip(folder(cache, KEY))
    images = [picture(300, 200, 1), picture(90, 131, 2)]
    theirs = np.stack([reference(image) for image in images])
    vectors = [ours.finish(_infer(ours, upright(image)), normalize=True) for image in images]
    assert (np.stack(vectors) * theirs).sum(axis=1).min() > 0.99999
    assert theirs[0] @ theirs[1] < 0.9, "different pictures get different vectors"


def _infer(model: ImageModel, image: Picture) -> FloatArray:
    (output,) = model.infer(model.prepare(image)[None])
    found: FloatArray = output
    return found


def test_texts_are_those_of_open_clip(cache: Path) -> None:
    ours = load(cache, KEY, network="text")
    assert isinstance(ours, TextModel)
    ids = open_clip.get_tokenizer(f"local-dir:{folder(cache, KEY)}")(TEXTS)
    tokens = np.stack([ours.prepare(text).ids for text in TEXTS])
    assert tokens.tolist() == ids.tolist()
    network = open_clip.create_model(f"local-dir:{folder(cache, KEY)}").eval()
    with torch.inference_mode():
        expected = network.encode_text(ids, normalize=True).numpy()
    vectors = [ours.finish(each, normalize=True) for each in ours.infer(tokens)]
    assert (np.stack(vectors) * expected).sum(axis=1).min() > 0.99999


def test_the_full_size_is_the_published_one() -> None:
    model = siglip.architecture(KEY, small_scale=False)
    assert model["vision_cfg"]["timm_model_name"] == "vit_base_patch16_siglip_256"
    assert (model["embed_dim"], model["text_cfg"]["vocab_size"]) == (768, 256_000)


def test_the_work_of_an_inference_is_counted(cache: Path) -> None:
    depth3.make("da3-small", small_scale=True).write(cache)
    sizes = flop(cache, "da3-small")
    assert sizes["12 MP 4:3"] > sizes["24 MP 3:2"] > 0, "its longer side is the same for all"
    assert len(set(flop(cache, KEY).values())) == 1, "a square for all photos"


def test_every_model_of_the_plan_has_a_checkpoint_and_something_to_compare_it_with() -> None:
    made = depth.SHAPES.keys() | clip.SHAPES.keys() | depth3.SHAPES.keys() | siglip.SHAPES.keys()
    for model in {*FULL.latency, *QUICK.latency}:
        assert model in made
        assert references(model) or BESIDE[model] in made
