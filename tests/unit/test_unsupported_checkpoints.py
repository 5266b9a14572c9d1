# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests that a checkpoint is refused, with the reason, if its family does not support it fully."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.engines.base import LoadError, Unsupported
from app.hub.store import BUILTIN, Checkpoint
from app.lending.registry import networks_of
from app.models.base import describe_checkpoint
from app.models.open_clip import OpenClip
from app.models.open_clip_activation import QUICK_GELU_REPOSITORIES, uses_quick_gelu
from config.models import ModelSpec
from config.settings import Settings

Change = Callable[[dict[str, Any]], object]


def spec_of(key: str) -> ModelSpec:
    return next(spec for spec in Settings().table().model if spec.key == key)


def altered(key: str, file: str, change: Change, folder: Path) -> Checkpoint:
    """Copy the JSON files of a built-in model, and change one of them."""
    for source in (BUILTIN / key).glob("*.json"):
        found = json.loads(source.read_text())
        if source.name == file:
            change(found)
        (folder / source.name).write_text(json.dumps(found))
    return Checkpoint(folder, "main", folder)


DEPTH: list[tuple[str, Change, str]] = [
    ("config", lambda c: c.update(depth_estimation_type="disparity"), "depth_estimation_type"),
    (
        "config",
        lambda c: c.update(depth_estimation_type="metric", max_depth=None),
        'lacks "max_depth"',
    ),
    ("config", lambda c: c.update(depth_estimation_type="metric", max_depth=0), "max_depth"),
    ("config", lambda c: c.update(depth_estimation_type="metric", max_depth="20"), "max_depth"),
    ("config", lambda c: c.update(max_depth=80), "max_depth"),
    ("config", lambda c: c.update(model_type="dpt"), '"model_type": "dpt"'),
    ("config", lambda c: c.update(model_type="prompt_depth_anything"), "model_type"),
    ("config", lambda c: c.update(architectures=["DPTForDepthEstimation"]), "architectures"),
    ("config", lambda c: c.update(patch_size=16), "patch_size"),
    ("config", lambda c: c.update(backbone="vit_small_patch14_dinov2"), "backbone"),
    ("config", lambda c: c.update(quantization_config={"bits": 8}), "quantization_config"),
    ("config", lambda c: c["backbone_config"].update(model_type="swinv2"), "swinv2"),
    ("config", lambda c: c["backbone_config"].update(patch_size=16), "backbone_config"),
    ("preprocessor_config", lambda c: c.update(image_mean=[0.5, 0.5, 0.5]), "image_mean"),
    ("preprocessor_config", lambda c: c.pop("image_mean"), 'lacks "image_mean"'),
    ("preprocessor_config", lambda c: c.update(image_std=[0.5, 0.5, 0.5]), "image_std"),
    ("preprocessor_config", lambda c: c.update(do_rescale=False), "do_rescale"),
    ("preprocessor_config", lambda c: c.update(rescale_factor=1), "rescale_factor"),
    ("preprocessor_config", lambda c: c.update(do_normalize=False), "do_normalize"),
    ("preprocessor_config", lambda c: c.update(do_resize=False), "do_resize"),
    ("preprocessor_config", lambda c: c.update(resample=2), "resample"),
    ("preprocessor_config", lambda c: c.update(ensure_multiple_of=32), "ensure_multiple_of"),
    ("preprocessor_config", lambda c: c.pop("ensure_multiple_of"), "ensure_multiple_of"),
    ("preprocessor_config", lambda c: c.update(keep_aspect_ratio=False), "keep_aspect_ratio"),
    ("preprocessor_config", lambda c: c.update(do_pad=True), "do_pad"),
    ("preprocessor_config", lambda c: c.update(do_center_crop=True), "do_center_crop"),
    ("preprocessor_config", lambda c: c.update(image_processor_type="ViTImageProcessor"), "ViT"),
    ("preprocessor_config", lambda c: c.update(size={"height": 518, "width": 392}), "size"),
    ("preprocessor_config", lambda c: c.update(size={"shortest_edge": 518}), "size"),
    ("preprocessor_config", lambda c: c.update(size={"height": 9999, "width": 9999}), "size"),
]
CLIP: list[tuple[Change, str]] = [
    (lambda c: c["preprocess_cfg"].update(mean=[0.5, 0.5]), "mean of preprocess_cfg"),
    (lambda c: c["preprocess_cfg"].update(mean="0.5"), "mean of preprocess_cfg"),
    (lambda c: c["preprocess_cfg"].update(std=[0.5, 0, 0.5]), "std of preprocess_cfg"),
    (lambda c: c["preprocess_cfg"].update(interpolation="lanczos"), "interpolation"),
    (lambda c: c["preprocess_cfg"].update(resize_mode="crop"), "resize_mode"),
    (lambda c: c["preprocess_cfg"].update(fill_color=300), "fill_color"),
    (lambda c: c["preprocess_cfg"].update(size=224), '"size"'),
    (lambda c: c["preprocess_cfg"].update(mode="L"), '"mode"'),
    (lambda c: c["model_cfg"]["vision_cfg"].update(image_size=[128, 96]), "squares"),
    (lambda c: c["model_cfg"]["vision_cfg"].update(timm_model_name="hf-hub:a/b"), "on the hub"),
]


@pytest.mark.parametrize(("file", "change", "named"), DEPTH)
def test_depth(file: str, change: Change, named: str, tmp_path: Path) -> None:
    checkpoint = altered("builtin-depth", f"{file}.json", change, tmp_path)
    with pytest.raises(Unsupported) as error:
        describe_checkpoint(spec_of("builtin-depth"), checkpoint)
    assert named in str(error.value)
    assert f"{file}.json" in str(error.value)
    assert "supported" in str(error.value)


@pytest.mark.parametrize("farthest", [20, 80])
def test_a_metric_depth_model_is_served_right(farthest: int, tmp_path: Path) -> None:
    change = lambda c: c.update(depth_estimation_type="metric", max_depth=farthest)  # noqa: E731
    checkpoint = altered("builtin-depth", "config.json", change, tmp_path)
    spec = spec_of("builtin-depth").model_copy(update={"metric": None})  # the row says false
    family: Any = describe_checkpoint(spec, checkpoint)
    assert family.is_metric
    output = np.array([[0, 0.25], [0.5, 1]], np.float32)
    assert (family.metres(output, None) == farthest * output).all()
    disparity = family.disparity(output)
    assert disparity[0, 0] > disparity[0, 1] > disparity[1, 0] > disparity[1, 1] > 0, "near is more"
    assert disparity[1, 1] == pytest.approx(1 / farthest)


@pytest.mark.parametrize(("change", "named"), CLIP)
def test_clip(change: Change, named: str, tmp_path: Path) -> None:
    spec = spec_of("builtin-clip")
    checkpoint = altered("builtin-clip", OpenClip.FILES[0], change, tmp_path)
    with pytest.raises(Unsupported) as error:
        describe_checkpoint(spec, checkpoint)
    assert named in str(error.value)
    assert OpenClip.FILES[0] in str(error.value)


@pytest.mark.parametrize("name", ["hf_tokenizer_name", "hf_model_name", "tokenizer_mode"])
def test_texts_of_unknown_tokens_are_refused_while_images_are_not(
    name: str, tmp_path: Path
) -> None:
    def change(found: dict[str, Any]) -> None:
        found["model_cfg"]["text_cfg"][name] = "someone/something"

    spec = spec_of("builtin-clip")
    checkpoint = altered("builtin-clip", OpenClip.FILES[0], change, tmp_path)
    family = describe_checkpoint(spec, checkpoint)
    family.check_network("image")
    with pytest.raises(Unsupported, match="someone/something"):
        family.source("text")


OPENAI = "timm/vit_base_patch16_clip_224.openai"


@pytest.mark.parametrize(
    ("row", "stated", "quick"),
    [
        ({"activation": "gelu"}, None, False),
        ({"activation": "quick_gelu"}, None, True),
        ({"hub_id": OPENAI}, None, True),
        ({"hub_id": "apple/DFN2B-CLIP-ViT-L-14"}, None, True),
        ({"hub_id": "laion/CLIP-ViT-B-32-laion2B-s34B-b79K"}, None, False),
        ({"hub_id": "laion/any", "activation": "quick_gelu"}, None, True),
        ({"hub_id": "laion/any"}, True, True),
        ({"path": Path("/folder")}, False, False),
        ({"hub_id": OPENAI, "activation": "gelu"}, None, "has activation quick_gelu"),
        ({"hub_id": "laion/any", "activation": "gelu"}, True, "has activation quick_gelu"),
        ({"path": Path("/folder")}, None, 'lacks "quick_gelu"; state activation'),
        ({}, None, 'lacks "quick_gelu"; state activation'),
    ],
)
def test_the_activation(row: dict[str, Any], stated: bool | None, quick: bool | str) -> None:
    """If the activation were guessed wrongly, every vector would be wrong."""
    spec = ModelSpec(key="clip", family="open_clip", **row)
    architecture = {} if stated is None else {"quick_gelu": stated}
    if isinstance(quick, bool):
        assert uses_quick_gelu(spec, architecture, "file") is quick
        return
    with pytest.raises(LoadError, match=quick):
        uses_quick_gelu(spec, architecture, "file")


def test_a_folder_with_a_tower_of_timm_needs_no_activation() -> None:
    spec = ModelSpec(key="siglip", family="open_clip", path=Path("/folder"))
    assert not uses_quick_gelu(spec, {"vision_cfg": {"timm_model_name": "x"}}, "file")


def test_repositories_with_quick_gelu_are_those_of_open_clip_s_own_table() -> None:
    from open_clip.pretrained import _PRETRAINED

    tags = [tag for tags in _PRETRAINED.values() for tag in tags.values()]
    named = {tag["hf_hub"].strip("/") for tag in tags if tag.get("quick_gelu")}
    assert named == QUICK_GELU_REPOSITORIES


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"backbone_config": 5}', "[" * 9999])
def test_a_damaged_description(text: str, tmp_path: Path) -> None:
    altered("builtin-depth", "", lambda _: None, tmp_path)
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(LoadError, match="damaged"):
        describe_checkpoint(spec_of("builtin-depth"), Checkpoint(tmp_path, "main", tmp_path))


#: changes that a published file may have and that are supported
FINE: list[tuple[str, str, Change]] = [
    ("builtin-depth", "config.json", lambda c: c.pop("depth_estimation_type")),
    ("builtin-depth", "config.json", lambda c: c.update(max_depth=None)),
    ("builtin-depth", "config.json", lambda c: c.pop("max_depth")),
    ("builtin-depth", "config.json", lambda c: c.update(torch_dtype="float32", backbone=None)),
    ("builtin-depth", "preprocessor_config.json", lambda c: c.pop("image_processor_type")),
    ("builtin-depth", "preprocessor_config.json", lambda c: c.update(do_reduce_labels=False)),
    ("builtin-clip", OpenClip.FILES[0], lambda c: c.pop("preprocess_cfg")),
    (
        "builtin-clip",
        OpenClip.FILES[0],
        lambda c: c["preprocess_cfg"].update(
            mean=[0.48145466, 0.4578275, 0.40821073],
            interpolation="bicubic",
            resize_mode="shortest",
            size=[128, 128],
        ),
    ),
]


@pytest.mark.parametrize(("key", "file", "change"), FINE)
def test_what_is_supported(key: str, file: str, change: Change, tmp_path: Path) -> None:
    spec = spec_of(key)
    family = describe_checkpoint(spec, altered(key, file, change, tmp_path))
    for network in networks_of(spec):
        family.check_network(network.name)
