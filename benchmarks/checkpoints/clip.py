# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Makes CLIP checkpoints with random weights, in the formats of transformers and of open_clip."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from transformers import CLIPConfig, CLIPModel

from benchmarks.checkpoints.hub_cache import Repository
from benchmarks.checkpoints.numbers import SEED, Draw, normalise, pictures

MEAN = [0.48145466, 0.4578275, 0.40821073]
STD = [0.26862954, 0.26130258, 0.27577711]


@dataclass(frozen=True)
class Shape:
    """The values in which the variants differ."""

    repository: str
    transformers_repository: str
    width: int
    layers: int
    heads: int
    patch: int
    dims: int
    text_width: int
    text_heads: int
    text_layers: int = 12
    vocabulary: int = 49408


SHAPES = {
    "ViT-L-14": Shape(
        "timm/vit_large_patch14_clip_224.openai",
        "openai/clip-vit-large-patch14",
        width=1024, layers=24, heads=16, patch=14, dims=768, text_width=768, text_heads=12,
    ),
    "ViT-B-16": Shape(
        "timm/vit_base_patch16_clip_224.openai",
        "openai/clip-vit-base-patch16",
        width=768, layers=12, heads=12, patch=16, dims=512, text_width=512, text_heads=8,
    ),
}  # fmt: skip


def tiny(shape: Shape) -> Shape:
    """Shrink a shape so that it answers in milliseconds; it keeps the length of its vectors."""
    return replace(shape, width=128, layers=3, heads=2, text_width=32, text_heads=4, text_layers=2)


PREPROCESSOR = {
    "image_processor_type": "CLIPImageProcessor",
    "feature_extractor_type": "CLIPFeatureExtractor",
    "do_resize": True,
    "size": 224,
    "resample": 3,
    "do_center_crop": True,
    "crop_size": 224,
    "do_normalize": True,
    "image_mean": MEAN,
    "image_std": STD,
}


def make(key: str, small_scale: bool) -> tuple[Repository, Repository]:
    """Make two repositories with the same weights: in open_clip's format and in transformers'."""
    shape = tiny(SHAPES[key]) if small_scale else SHAPES[key]
    network = _network(shape, SEED + 11 + list(SHAPES).index(key))
    state = {k: v for k, v in network.state_dict().items() if "position_ids" not in k}
    ours = Repository(
        shape.repository,
        {"open_clip_config.json": _open_clip_json(shape)},
        "open_clip_model.safetensors",
        to_open_clip(state, shape.layers, shape.text_layers),
    )
    files = {
        "config.json": _config_json(shape),
        "preprocessor_config.json": PREPROCESSOR,
        **_tokenizer_files(shape.vocabulary),
    }
    theirs = Repository(shape.transformers_repository, files, "model.safetensors", state)
    return ours, theirs


@torch.no_grad()
def _network(shape: Shape, seed: int) -> Any:
    torch.manual_seed(0)
    network: Any = CLIPModel(CLIPConfig.from_dict(_config_json(shape)))
    network.eval()
    draw = Draw(seed)
    for name, parameter in network.named_parameters():
        parameter.copy_(_values(draw, name, parameter.shape, shape.layers))
    _spread_vectors(network)
    return network


def _values(draw: Draw, name: str, shape: torch.Size, layers: int) -> Tensor:
    if name.endswith("logit_scale"):
        return torch.tensor(math.log(100.0))
    if name.endswith("patch_embedding.weight"):
        return draw.patch_filter(shape[0], shape[2])
    if name.startswith("vision_model") and name.endswith("position_embedding.weight"):
        return draw.position_embeddings(math.isqrt(shape[0] - 1), shape[1])
    if re.search(r"class_embedding|token_embedding|position_embedding", name):
        return draw(*shape, std=0.3)
    values = draw.block(name, shape, residual=1.0)
    if re.search(r"(out_proj|fc2)\.weight", name):
        values *= 0.35 * math.sqrt(12 / layers)
    return values


def _spread_vectors(network: Any) -> None:
    """Subtract most of the vectors' mean, so that different images get different vectors."""
    norm = network.vision_model.post_layernorm
    seen: list[Tensor] = []
    hook = norm.register_forward_hook(lambda _module, _inputs, output: seen.append(output.clone()))
    images = normalise(pictures(16, 224, 224, SEED + 200), MEAN, STD)
    network.get_image_features(pixel_values=images)
    hook.remove()
    norm.bias.sub_(0.8 * torch.cat([each.reshape(-1, each.shape[-1]) for each in seen]).mean(0))


def to_open_clip(state: dict[str, Tensor], layers: int, text_layers: int) -> dict[str, Tensor]:
    """Give transformers' tensors open_clip's names, and join query, key and value weights."""
    out = {
        "visual.class_embedding": state["vision_model.embeddings.class_embedding"],
        "visual.positional_embedding": state["vision_model.embeddings.position_embedding.weight"],
        "visual.conv1.weight": state["vision_model.embeddings.patch_embedding.weight"],
        "visual.proj": state["visual_projection.weight"].T,
        "token_embedding.weight": state["text_model.embeddings.token_embedding.weight"],
        "positional_embedding": state["text_model.embeddings.position_embedding.weight"],
        "text_projection": state["text_projection.weight"].T,
        "logit_scale": state["logit_scale"],
    }
    norms = {
        "visual.ln_pre": "vision_model.pre_layrnorm",
        "visual.ln_post": "vision_model.post_layernorm",
        "ln_final": "text_model.final_layer_norm",
    }
    same = {
        "attn.out_proj": "self_attn.out_proj",
        "ln_1": "layer_norm1",
        "ln_2": "layer_norm2",
        "mlp.c_fc": "mlp.fc1",
        "mlp.c_proj": "mlp.fc2",
    }
    towers = (
        ("vision_model", layers, "visual.transformer"),
        ("text_model", text_layers, "transformer"),
    )
    for part in ("weight", "bias"):
        for ours, theirs in norms.items():
            out[f"{ours}.{part}"] = state[f"{theirs}.{part}"]
        for tower, count, transformer in towers:
            for i in range(count):
                source, target = f"{tower}.encoder.layers.{i}", f"{transformer}.resblocks.{i}"
                parts = [state[f"{source}.self_attn.{q}_proj.{part}"] for q in "qkv"]
                out[f"{target}.attn.in_proj_{part}"] = torch.cat(parts)
                for ours, theirs in same.items():
                    out[f"{target}.{ours}.{part}"] = state[f"{source}.{theirs}.{part}"]
    return out


def _open_clip_json(shape: Shape) -> dict[str, Any]:
    vision = {
        "image_size": 224,
        "layers": shape.layers,
        "width": shape.width,
        "patch_size": shape.patch,
    }
    text = {
        "context_length": 77,
        "vocab_size": shape.vocabulary,
        "width": shape.text_width,
        "heads": shape.text_heads,
        "layers": shape.text_layers,
    }
    return {
        "model_cfg": {
            "embed_dim": shape.dims,
            "quick_gelu": True,
            "vision_cfg": vision,
            "text_cfg": text,
        },
        "preprocess_cfg": {"mean": MEAN, "std": STD},
    }


def _config_json(shape: Shape) -> dict[str, Any]:
    common = {"hidden_act": "quick_gelu", "projection_dim": shape.dims, "layer_norm_eps": 1e-5}
    return {
        "architectures": ["CLIPModel"],
        "model_type": "clip",
        "projection_dim": shape.dims,
        "logit_scale_init_value": 2.6592,
        "initializer_factor": 1.0,
        "torch_dtype": "float32",
        "text_config": common
        | {
            "model_type": "clip_text_model",
            "hidden_size": shape.text_width,
            "intermediate_size": 4 * shape.text_width,
            "num_hidden_layers": shape.text_layers,
            "num_attention_heads": shape.text_heads,
            "vocab_size": shape.vocabulary,
            "max_position_embeddings": 77,
            "bos_token_id": 0,
            "eos_token_id": 2,
            "pad_token_id": 1,
        },
        "vision_config": common
        | {
            "model_type": "clip_vision_model",
            "hidden_size": shape.width,
            "intermediate_size": 4 * shape.width,
            "num_hidden_layers": shape.layers,
            "num_attention_heads": shape.heads,
            "image_size": 224,
            "patch_size": shape.patch,
        },
    }


def _byte_symbols() -> list[str]:
    """Return the 256 printable characters that stand for bytes in byte-level BPE vocabularies."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = [byte for byte in range(256) if byte not in printable]
    return [chr(byte) for byte in printable] + [chr(256 + i) for i in range(len(rest))]


def _tokenizer_files(vocabulary: int) -> dict[str, Any]:
    """Return the files of a valid byte-level tokenizer without merges.

    transformers' processor needs no more than these to load.
    """
    symbols = _byte_symbols()
    words = symbols + [f"{symbol}</w>" for symbol in symbols]
    start, end = "<|startoftext|>", "<|endoftext|>"
    numbers = {word: i for i, word in enumerate(words)} | {
        start: vocabulary - 2,
        end: vocabulary - 1,
    }
    special = {"bos_token": start, "eos_token": end, "unk_token": end, "pad_token": end}
    tokenizer = {"tokenizer_class": "CLIPTokenizer", "model_max_length": 77, "do_lower_case": True}
    return {
        "vocab.json": json.dumps(numbers, ensure_ascii=False),
        "merges.txt": "#version: 0.2\n",
        "special_tokens_map.json": special,
        "tokenizer_config.json": tokenizer | special,
    }
