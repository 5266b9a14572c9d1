# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Compares pictures, tokens and vectors of the family ``transformers`` with transformers itself."""

from __future__ import annotations

import string
import warnings
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModel, AutoTokenizer, PreTrainedTokenizerFast, Siglip2Tokenizer
from transformers.models.bit.image_processing_pil_bit import BitImageProcessorPil
from transformers.models.chinese_clip.image_processing_pil_chinese_clip import (
    ChineseCLIPImageProcessorPil,
)
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.dinov3_vit.image_processing_dinov3_vit import DINOv3ViTImageProcessor
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

from app.engines.openvino.conversion_process import convert
from app.engines.openvino.conversions import Conversions
from app.hub.store import Checkpoint
from app.models.base import NetworkId, describe_checkpoint
from app.models.embedding_family import EmbeddingFamily
from app.pictures.canvas import HostImages
from benchmarks.models import cpu_loader
from config.values import EngineSetting
from tests.pictures import picture, upright
from tests.transformers_checkpoints import CASES, make, row

SIZES = [(231, 224), (97, 61), (3, 5), (400, 20), (30, 45), (1, 1), (35, 32)]
TEXTS = [
    "a photo of a cat",
    "A  Photo,\tof a CAT!",
    "schön & gut 🎉",
    "cafe\u0301 A\u030aNGSTRO\u0308M",  # letters with combining marks
    "在图片 猫",
    "x",
    "word " * 200,
    "it's 2 cats' photos...",
]
PROCESSORS: dict[str, Any] = {
    "clip": CLIPImageProcessorPil,
    "metaclip_2": CLIPImageProcessorPil,
    "altclip": CLIPImageProcessorPil,
    "chinese_clip": ChineseCLIPImageProcessorPil,
    "siglip": SiglipImageProcessorPil,
    "dinov2": BitImageProcessorPil,
    "dinov3_vit": DINOv3ViTImageProcessor,
}
#: Engines and checkpoints to leave out, because the same network is tested with another checkpoint.
SAME_NETWORKS = {
    ("openvino", name) for name in ("chinese_clip with tokenizer.json", "siglip 2", "metaclip_2")
}
WITH_TEXTS = [name for name in CASES if not name.startswith("dino")]


def kind(name: str) -> str:
    return name.split()[0]


@dataclass
class Both:
    """A checkpoint in Twinlens and the same one in transformers."""

    name: str
    checkpoint: Checkpoint
    _networks: dict[tuple[str, str], Any] = field(default_factory=dict)

    @cached_property
    def family(self) -> EmbeddingFamily:
        family = describe_checkpoint(row(), self.checkpoint)
        assert isinstance(family, EmbeddingFamily)
        return family

    @cached_property
    def reference(self) -> Any:
        return AutoModel.from_pretrained(self.checkpoint.path, dtype=torch.float32).eval()

    @cached_property
    def processor(self) -> Any:
        return PROCESSORS[kind(self.name)].from_pretrained(self.checkpoint.path)

    def infer(self, engine: EngineSetting, network: str, batch: Any) -> Any:
        if (engine, network) not in self._networks:
            id = NetworkId(row(), network)
            loader = cpu_loader(engine, "fp32")
            if engine == "openvino":  # in this process, which is faster
                with warnings.catch_warnings(action="ignore"):
                    convert(Conversions(half=False, life=0).job(self.family.source(network)))
            loaded = loader.load(id, self.checkpoint, "cpu")
            loaded.network.to_device("cpu")
            loaded.warm_up()
            assert loaded.network.engine == engine
            self._networks[engine, network] = loaded.network
        return self._networks[engine, network].infer(batch)

    def expected_images(self, pictures: Any) -> Any:
        with torch.inference_mode():
            pixels = torch.from_numpy(pictures)
            if kind(self.name).startswith("dino"):
                return self.reference(pixels).pooler_output.numpy()
            return self.reference.get_image_features(pixels).pooler_output.numpy()

    def tokens(self, texts: list[str]) -> dict[str, torch.Tensor]:
        """The tokens, made as transformers' documentation recommends for each architecture."""
        folder = self.checkpoint.path
        options: dict[str, Any] = {"padding": True, "return_tensors": "pt", "truncation": True}
        options["max_length"] = {"altclip": 77, "chinese_clip": 52}.get(self.name, 77)
        if self.name == "chinese_clip with tokenizer.json":
            options["max_length"] = 40
        if kind(self.name) == "siglip":
            options |= {"padding": "max_length", "max_length": 64, "return_attention_mask": False}
        tokenizer: Any
        if self.name == "siglip":
            # SiglipTokenizer would clean the texts like this, but it needs sentencepiece.
            table = str.maketrans("", "", string.punctuation)
            texts = [" ".join(text.lower().translate(table).split()) for text in texts]
            fast: Any = PreTrainedTokenizerFast
            tokenizer = fast(tokenizer_file=str(folder / "tokenizer.json"), pad_token="</s>")
        elif self.name == "siglip 2":
            tokenizer = Siglip2Tokenizer.from_pretrained(folder, padding_side="right")
        else:
            tokenizer = AutoTokenizer.from_pretrained(folder)
        found: dict[str, torch.Tensor] = dict(tokenizer(texts, **options))
        return found

    def expected_texts(self, texts: list[str]) -> Any:
        with torch.inference_mode():
            inputs = self.tokens(texts)
            return self.reference.get_text_features(**inputs).pooler_output.numpy()


@pytest.fixture(scope="module", params=CASES)
def both(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Both:
    folder = tmp_path_factory.mktemp("checkpoint")
    return Both(request.param, make(request.param, folder))


def cosines(found: Any, expected: Any) -> Any:
    assert found.shape == expected.shape
    lengths = np.linalg.norm(found, axis=1) * np.linalg.norm(expected, axis=1)
    return (found * expected).sum(axis=1) / lengths


def prepared(family: EmbeddingFamily) -> Any:
    images = [family.prepare_image(upright(picture(*s, s[0])), None, HostImages()) for s in SIZES]
    return np.stack(images)


def reference_pictures(both: Both) -> Any:
    found = [both.processor(picture(*s, s[0]), return_tensors="np").pixel_values for s in SIZES]
    return np.concatenate(found).astype(np.float32)


def test_pictures_are_prepared_alike(both: Both) -> None:
    ours, theirs = prepared(both.family), reference_pictures(both)
    assert ours.shape == theirs.shape == (len(SIZES), 3, *theirs.shape[2:])
    # For DINOv3, Twinlens resizes 8-bit levels as the authors do; transformers resizes floats.
    level = 1 / 255 / both.family.deviation.min()
    most = level if both.name == "dinov3_vit" else 1e-5
    assert np.abs(ours - theirs).max() < most


@pytest.mark.parametrize("engine", ["torch", "openvino"])
def test_vectors_of_pictures(both: Both, engine: EngineSetting) -> None:
    if (engine, both.name) in SAME_NETWORKS:
        return
    ours = prepared(both.family)
    found = both.infer(engine, "image", ours)
    theirs = ours if both.name == "dinov3_vit" else reference_pictures(both)
    expected = both.expected_images(theirs)
    assert expected.shape[1] == both.family.dims
    assert cosines(found, expected).min() > 0.99999
    lengths = np.linalg.norm(found, axis=1), np.linalg.norm(expected, axis=1)
    np.testing.assert_allclose(*lengths, rtol=1e-3)


def test_tokens(both: Both) -> None:
    if both.name not in WITH_TEXTS:
        return
    expected = both.tokens(TEXTS)["input_ids"].numpy()
    for text, ids in zip(TEXTS, expected, strict=True):
        ours = both.family.prepare_text(text)
        assert list(ours.ids[: len(ids)]) == list(ids), text
        assert len(ours.ids) == both.family.blank("text").shape[1]
        assert ours.truncated == (text == "word " * 200)


@pytest.mark.parametrize("engine", ["torch", "openvino"])
def test_vectors_of_texts(both: Both, engine: EngineSetting) -> None:
    if both.name not in WITH_TEXTS or (engine, both.name) in SAME_NETWORKS:
        return
    expected = both.expected_texts(TEXTS)
    ids = np.stack([both.family.prepare_text(text).ids for text in TEXTS])
    found = both.infer(engine, "text", ids)
    assert cosines(found, expected).min() > 0.99999
    (alone,) = both.infer(engine, "text", ids[:1])
    np.testing.assert_allclose(alone, found[0], rtol=1e-3, atol=1e-4)
