# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Compares the networks of open_clip checkpoints with open_clip itself, on both CPU engines."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from numpy.typing import NDArray

from app.engines.base import EngineUnavailable, NetworkSource
from app.engines.openvino.conversion_process import convert
from app.engines.openvino.conversions import Conversions
from app.lending.loader import Loader
from app.models.base import NetworkId, describe_checkpoint
from app.models.open_clip import OpenClip
from app.pictures.canvas import HostImages
from benchmarks.models import ImageModel, TextModel, with_work
from config.settings import Settings
from config.values import EngineSetting
from tests import tiny_tokenizers
from tests.open_clip_checkpoints import TEXT, VIT, described, encoder, timm, write
from tests.pictures import picture, upright

TEXTS = [text for text in tiny_tokenizers.TEXTS if text.strip()]
SIZES = [(90, 61), (61, 90), (400, 20), (20, 400), (3, 3), (131, 128), (33, 36)]
LIFE, _ = os.pipe()

XLM_ROBERTA = {
    "model_type": "xlm-roberta",
    "vocab_size": 200,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "max_position_embeddings": 40,
    "type_vocab_size": 1,
    "pad_token_id": 1,
}
M2M_100 = {
    "model_type": "m2m_100",
    "is_encoder_decoder": True,
    "vocab_size": 400,
    "d_model": 32,
    "encoder_layers": 2,
    "encoder_ffn_dim": 64,
    "encoder_attention_heads": 2,
    "decoder_layers": 1,
    "decoder_ffn_dim": 64,
    "decoder_attention_heads": 2,
    "max_position_embeddings": 64,
    "scale_embedding": True,
    "pad_token_id": 1,
}
MT5 = {
    "model_type": "mt5",
    "is_encoder_decoder": True,
    "vocab_size": 200,
    "d_model": 32,
    "d_kv": 16,
    "d_ff": 64,
    "num_layers": 2,
    "num_decoder_layers": 1,
    "num_heads": 2,
    "feed_forward_proj": "gated-gelu",
    "pad_token_id": 0,
}
SIGLIP_TEXT = TEXT | {
    "vocab_size": 800,
    "hf_tokenizer_name": "x",
    "tokenizer_kwargs": {"clean": "canonicalize"},
    "no_causal_mask": True,
    "proj_bias": True,
    "pool_type": "last",
    "norm_kwargs": {"eps": 1e-3},
    "act_kwargs": {"approximate": "tanh"},
}
HALF = [0.5, 0.5, 0.5]


def clip(_: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    return {"embed_dim": 24, "vision_cfg": VIT | {"image_size": [32, 32]}, "text_cfg": TEXT}, {}


def clip_quick(_: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    architecture = {"embed_dim": 24, "quick_gelu": True, "vision_cfg": VIT, "text_cfg": TEXT}
    return architecture, {"interpolation": "random", "mean": None, "fill_color": 7}


def resnet(_: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    vision = {"image_size": 64, "layers": [1, 1, 1, 1], "width": 8, "head_width": 32}
    text = TEXT | {"pool_type": "eos", "eos_id": 49407}
    return {"embed_dim": 24, "vision_cfg": vision, "text_cfg": text}, {"interpolation": "bilinear"}


def clipa(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    tiny_tokenizers.bert(folder)
    vision = VIT | {"no_ln_pre": True, "pool_type": "avg", "final_ln_after_pool": True}
    text = TEXT | {"vocab_size": 300, "pool_type": "last", "no_causal_mask": True}
    text |= {"hf_tokenizer_name": "x", "tokenizer_kwargs": {"strip_sep_token": True}}
    preparation = {"interpolation": "bilinear", "resize_mode": "squash", "mean": HALF}
    return {"embed_dim": 24, "vision_cfg": vision, "text_cfg": text}, preparation


def siglip_2(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    tiny_tokenizers.gemma(folder)
    architecture = {
        "embed_dim": 96,
        "init_logit_bias": -10,
        "custom_text": True,
        "vision_cfg": timm("test_vit3", 160, "map", "none"),
        "text_cfg": SIGLIP_TEXT,
    }
    return architecture, {"resize_mode": "squash", "mean": HALF, "std": HALF}


def mobile_clip(_: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    architecture = {
        "embed_dim": 24,
        "custom_text": True,
        "vision_cfg": timm("fastvit_t8", 64, "avg", None, timm_drop=0.0, timm_drop_path=0.0),
        "text_cfg": TEXT | {"no_causal_mask": True},
    }
    return architecture, {"mean": [0, 0, 0], "std": [1, 1, 1], "interpolation": "bilinear"}


def eva(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Rotary position embeddings, which are not in the file; XLM-RoBERTa for texts."""
    tiny_tokenizers.xlm_roberta(folder)
    architecture = {
        "embed_dim": 24,
        "custom_text": True,
        "vision_cfg": timm("eva02_tiny_patch14_224", 224, "token", None),
        "text_cfg": encoder(folder, XLM_ROBERTA, hf_pooler_type="mean_pooler", hf_proj_type="mlp"),
    }
    return architecture, {}


def convnext(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Sinusoidal positions in the text encoder, which are not in the file."""
    tiny_tokenizers.nllb(folder)
    architecture = {
        "embed_dim": 24,
        "custom_text": True,
        "vision_cfg": timm("test_convnext", 64, "", "mlp", timm_drop=0.1, timm_drop_path=0.1),
        "text_cfg": encoder(folder, M2M_100, hf_pooler_type="cls_pooler", hf_proj_type="linear"),
    }
    return architecture, {"resize_mode": "longest", "fill_color": 99}


def relative(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Indices of relative positions, which are not in the file; mT5 for texts."""
    tiny_tokenizers.t5(folder)
    architecture = {
        "embed_dim": 24,
        "vision_cfg": timm("test_vit_relpos", 160, "avg", "linear", timm_proj_bias=True),
        "text_cfg": encoder(folder, MT5, hf_pooler_type="mean_pooler"),
    }
    return architecture, {"resize_mode": "longest", "interpolation": "bilinear"}


def coca(_: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    vision = VIT | {"attentional_pool": True, "attn_pooler_heads": 2, "output_tokens": True}
    text = TEXT | {"embed_cls": True, "output_tokens": True, "context_length": 23}
    decoder = {"context_length": 23, "width": 32, "heads": 2, "layers": 1}
    architecture = {"embed_dim": 24, "custom_text": True, "multimodal_cfg": decoder}
    return architecture | {"vision_cfg": vision, "text_cfg": text}, {}


MAKERS: dict[str, Callable[[Path], tuple[dict[str, Any], dict[str, Any]]]] = {
    each.__name__: each
    for each in (
        clip,
        clip_quick,
        resnet,
        clipa,
        siglip_2,
        mobile_clip,
        eva,
        convnext,
        relative,
        coca,
    )
}


@pytest.fixture(scope="module", params=MAKERS)
def made(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Any]:
    """A folder with a checkpoint, and the network that open_clip itself builds from it."""
    folder = tmp_path_factory.mktemp(request.param)
    architecture, preparation = MAKERS[request.param](folder)
    return folder, write(folder, architecture, preparation)


def model(folder: Path, network: str, engine: EngineSetting) -> Any:
    """The checkpoint's network in Twinlens; it is converted in this process, which is faster."""
    spec, checkpoint = described(folder)
    if engine == "openvino":
        source: NetworkSource = describe_checkpoint(spec, checkpoint).source(network)
        with warnings.catch_warnings(action="ignore"):  # tracing warns
            convert(Conversions(half=False, life=0).job(source))
    loader = Loader.make(engine, "fp32", "cpu", threads=1, life=LIFE)
    loaded = loader.load(NetworkId(spec, network), checkpoint, "cpu")
    assert loaded.network.engine == engine
    loaded.network.to_device("cpu")
    loaded.warm_up()
    return with_work(loaded)


#: largest error of a vector, as a share of the mean distance of vectors from their mean
ERRORS = {"torch": 1e-4, "openvino": 5e-3}


def check(found: NDArray[np.float32], expected: torch.Tensor, engine: EngineSetting) -> None:
    """Check that vectors agree with the expected ones.

    The cosine alone is not enough: networks with random weights give similar vectors for all
    images, so it may exceed 0.99999 in spite of a mistake. Therefore the error must also be small
    compared with the differences between the expected vectors.
    """
    theirs = expected.numpy()
    assert found.shape == theirs.shape
    lengths = np.linalg.norm(found, axis=1) * np.linalg.norm(theirs, axis=1)
    assert ((found * theirs).sum(axis=1) / lengths).min() > 0.99999
    spread = np.linalg.norm(theirs - theirs.mean(axis=0), axis=1).mean()
    assert spread > 1e-3 * np.linalg.norm(theirs, axis=1).mean()
    assert np.linalg.norm(found - theirs, axis=1).max() < ERRORS[engine] * spread


ENGINES: tuple[EngineSetting, ...] = ("torch", "openvino")


@pytest.mark.parametrize("engine", ENGINES)
def test_images(made: tuple[Path, Any], engine: EngineSetting) -> None:
    folder, network = made
    ours = model(folder, "image", engine)
    assert isinstance(ours, ImageModel)
    images = [picture(*size, seed) for seed, size in enumerate(SIZES)]
    settings = open_clip.transform.PreprocessCfg(**network.visual.preprocess_cfg)
    preprocess = open_clip.transform.image_transform_v2(settings, is_train=False)
    theirs = torch.stack([preprocess(image) for image in images])
    batch = np.stack([ours.prepare(upright(image)) for image in images])
    np.testing.assert_allclose(batch, theirs.numpy(), atol=1e-5)
    if engine == "openvino":  # fewer images, because each takes longer
        theirs, batch = theirs[:3], batch[:3]
    with torch.inference_mode():
        expected = network.encode_image(theirs, normalize=False)
    check(ours.infer(batch), expected, engine)
    check(np.concatenate([ours.infer(each[None]) for each in batch]), expected, engine)


@pytest.mark.parametrize("engine", ENGINES)
def test_texts(made: tuple[Path, Any], engine: EngineSetting) -> None:
    folder, network = made
    ours = model(folder, "text", engine)
    assert isinstance(ours, TextModel)
    theirs = open_clip.get_tokenizer(f"local-dir:{folder}")(TEXTS)
    ids = np.stack([ours.prepare(text).ids for text in TEXTS])
    assert ids.tolist() == theirs.tolist()
    with torch.inference_mode():
        expected = network.encode_text(theirs, normalize=False)
    check(ours.infer(ids), expected, engine)
    check(np.concatenate([ours.infer(each[None]) for each in ids]), expected, engine)


def test_weights_are_mapped_not_copied(made: tuple[Path, Any]) -> None:
    folder, _ = made
    family = describe_checkpoint(*described(folder))
    assert isinstance(family, OpenClip)
    for network in OpenClip.NETWORKS:
        assert family.source(network).size > 0
        tensors = [*family.module(network).parameters(), *family.module(network).buffers()]
        assert not any(each.is_meta for each in tensors)
        assert {each.dtype for each in tensors if each.is_floating_point()} == {torch.float32}


def test_margins_are_floored_for_openai_s_models_only(tmp_path: Path) -> None:
    """Users have stored vectors that were made so; with this size, rounding shifts the crop."""
    write(tmp_path, *clip_quick(tmp_path))
    image = picture(35, 32)
    crops = []
    for hub_id in ("timm/vit_base_patch16_clip_224.openai", "laion/any"):
        spec, checkpoint = described(tmp_path, hub_id=hub_id)
        family = describe_checkpoint(spec, checkpoint)
        assert isinstance(family, OpenClip)
        crops.append(family.prepare_image(upright(image), None, HostImages()))
    assert np.array_equal(crops[0][:, :, 1:], crops[1][:, :, :-1])


def test_torch_runs_what_openvino_cannot_convert(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object) -> None:
        raise EngineUnavailable("its conversion failed (see the log)")

    monkeypatch.setattr(Conversions, "_convert", refuse)
    write(tmp_path, *clip(tmp_path))
    spec, checkpoint = described(tmp_path)
    loader = Loader.make("auto", "fp32", "cpu", threads=1, life=LIFE)
    loaded = loader.load(NetworkId(spec, "image"), checkpoint, "cpu")
    assert (loaded.network.engine, loaded.provenance().engine) == ("torch", "torch")
    assert "OpenVINO cannot run it here (its conversion failed" in caplog.text


def test_rows_are_of_open_clip_s_own_table() -> None:
    """Compares the repository, the length of a vector and the size of a picture."""
    found = {}
    for name, tags in open_clip.pretrained._PRETRAINED.items():
        config = open_clip.get_model_config(name)
        for tag in tags.values():
            sizes = config["embed_dim"], config["vision_cfg"]["image_size"]
            found[tag["hf_hub"].strip("/")] = sizes
    rows = [row for row in Settings().table().model if row.family == "open_clip" and row.hub_id]
    assert {row.hub_id: (row.dims, row.image_size) for row in rows} == {
        row.hub_id: found[str(row.hub_id)] for row in rows
    }
    assert len(rows) == 8
