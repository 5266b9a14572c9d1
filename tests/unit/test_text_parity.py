# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Compares vectors of texts, from each CPU engine, with those of transformers' CLIP."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from transformers import CLIPModel

from app.engines.base import LoadError
from app.hub.store import Checkpoint
from app.models.base import describe_checkpoint
from app.models.open_clip import OpenClip
from benchmarks.checkpoints.clip import SHAPES
from benchmarks.models import TextModel, load
from config.models import ModelSpec
from config.settings import Settings
from config.values import EngineSetting, PrecisionSetting

TEXTS = ["a photo of a cat", "schön & gut 🎉", "two <end_of_text> marks", "word " * 200, "x"]


def text_model(
    hub: Path, key: str, engine: EngineSetting = "torch", precision: PrecisionSetting = "fp32"
) -> TextModel:
    model = load(hub, key, engine, precision, network="text")
    assert isinstance(model, TextModel)
    return model


def vectors(model: TextModel) -> NDArray[np.float32]:
    ids = np.stack([model.prepare(text).ids for text in TEXTS])
    return np.stack([model.finish(row, normalize=True) for row in model.infer(ids)])


@pytest.fixture(params=["ViT-L-14", "ViT-B-16"])
def key(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def expected(hub: Path, key: str) -> Any:
    theirs = hub / f"models--{SHAPES[key].transformers_repository.replace('/', '--')}"
    network: Any = CLIPModel.from_pretrained(next((theirs / "snapshots").iterdir()))
    ids = open_clip.tokenizer.SimpleTokenizer()(TEXTS)
    with torch.inference_mode():
        rows = network.get_text_features(input_ids=ids).pooler_output.numpy()
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.mark.parametrize(
    ("engine", "precision", "least"),
    [("torch", "fp32", 0.99999), ("torch", "bf16", 0.999), ("openvino", "auto", 0.999)],
)
def test_the_same_direction(
    hub: Path,
    key: str,
    expected: Any,
    engine: EngineSetting,
    precision: PrecisionSetting,
    least: float,
) -> None:
    found = vectors(text_model(hub, key, engine, precision))
    assert found.shape == expected.shape
    assert (found * expected).sum(axis=1).min() > least


@pytest.fixture
def small(tmp_path: Path) -> tuple[ModelSpec, Checkpoint]:
    """Make a checkpoint whose sizes differ from those of OpenAI's models, in 16-bit floats."""
    architecture = {
        "embed_dim": 128,
        "vision_cfg": {"image_size": 128, "layers": 2, "width": 64, "patch_size": 16},
        "text_cfg": {
            "context_length": 32,
            "vocab_size": 49408,
            "width": 32,
            "heads": 2,
            "layers": 2,
        },
    }
    torch.manual_seed(0)
    network = open_clip.model.CLIP(**architecture).half()
    save_file(
        {name: tensor.contiguous() for name, tensor in network.state_dict().items()},
        tmp_path / OpenClip.FILES[1],
    )
    (tmp_path / OpenClip.FILES[0]).write_text(json.dumps({"model_cfg": architecture}))
    (spec,) = (each for each in Settings().table().model if each.key == "ViT-L-14")
    row = {"key": "small-clip", "hub_id": "some/clip", "dims": 128, "image_size": 128}
    return spec.model_copy(update=row | {"activation": "gelu"}), Checkpoint(tmp_path, "1", tmp_path)


def test_another_size_and_16_bit_floats(small: tuple[ModelSpec, Checkpoint]) -> None:
    spec, checkpoint = small
    family = describe_checkpoint(spec, checkpoint)
    text, image = family.module("text"), family.module("image")
    assert {each.dtype for tower in (text, image) for each in tower.parameters()} == {torch.float32}
    assert family.input_shape("text") == (None, 32)
    ids = open_clip.tokenizer.SimpleTokenizer(context_length=32)(TEXTS)
    with torch.inference_mode():
        rows = text(ids)
        assert rows.shape == (len(TEXTS), 128)
        assert image(torch.zeros(1, 3, 128, 128)).shape == (1, 128)
    architecture = json.loads((checkpoint.path / OpenClip.FILES[0]).read_text())["model_cfg"]
    whole = open_clip.model.CLIP(**architecture)
    tensors = {**{f"visual.{k}": v for k, v in image.state_dict().items()}, **text.state_dict()}
    whole.load_state_dict(tensors, strict=False)
    with torch.inference_mode():
        torch.testing.assert_close(whole.encode_text(ids), rows)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"vocab_size": 32000}, "not made of CLIP's own tokens"),
        ({"hf_tokenizer_name": "t5-base"}, "need tokenizer.json of t5-base"),
    ],
)
def test_a_checkpoint_with_other_tokens_is_refused(
    small: tuple[ModelSpec, Checkpoint], change: dict[str, object], reason: str
) -> None:
    spec, checkpoint = small
    path = checkpoint.path / OpenClip.FILES[0]
    config = json.loads(path.read_text())
    config["model_cfg"]["text_cfg"] |= change
    path.write_text(json.dumps(config))
    family = describe_checkpoint(spec, checkpoint)
    with pytest.raises(LoadError, match=reason):
        family.source("text")
    family.source("image").module()  # images are not affected
