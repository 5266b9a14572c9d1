# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Makes SigLIP 2 checkpoints with random weights, in open_clip's format.

Their configuration is that of the installed open_clip. Their tokenizer is a small stand-in, which
makes one token of each byte. It has the special tokens and the settings of the published one, but
not its vocabulary.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

import open_clip
import torch
from tokenizers import Tokenizer, normalizers, processors
from tokenizers.models import BPE
from torch import Tensor

from benchmarks.checkpoints.hub_cache import Repository
from benchmarks.checkpoints.numbers import SEED, Draw, normalise, pictures

MEAN = STD = [0.5, 0.5, 0.5]


@dataclass(frozen=True)
class Shape:
    """The repository on the hub, and the name of the architecture in open_clip."""

    repository: str
    architecture: str


SHAPES = {"siglip2-b16-256": Shape("timm/ViT-B-16-SigLIP2-256", "ViT-B-16-SigLIP2-256")}

# The smallest image tower that timm has for 256 pixels. It pools its tokens by averaging them,
# whereas SigLIP's tower pools them with a layer of attention.
_TINY_VISION = {
    "timm_model_name": "vit_wee_patch16_reg1_gap_256",
    "timm_pool": "avg",
    "timm_proj": "linear",
}
_TINY_TEXT = {"width": 32, "heads": 4, "layers": 2, "vocab_size": 1000}


def architecture(key: str, small_scale: bool) -> dict[str, Any]:
    """Return the checkpoint's ``model_cfg``."""
    found: dict[str, Any] = open_clip.get_model_config(SHAPES[key].architecture)
    if small_scale:
        found["vision_cfg"] |= _TINY_VISION
        found["text_cfg"] |= _TINY_TEXT
    return found


def make(key: str, small_scale: bool) -> Repository:
    """Make the repository of one variant."""
    model = architecture(key, small_scale)
    preparation = {"mean": MEAN, "std": STD, "interpolation": "bicubic", "resize_mode": "squash"}
    files = {
        "open_clip_config.json": {"model_cfg": model, "preprocess_cfg": preparation},
        **_tokenizer_files(),
    }
    state = _weights(model, SEED + 31 + list(SHAPES).index(key))
    return Repository(SHAPES[key].repository, files, "open_clip_model.safetensors", state)


@torch.no_grad()
def _weights(model: dict[str, Any], seed: int) -> dict[str, Tensor]:
    with torch.device("meta"):
        parts = {name: value for name, value in model.items() if name != "custom_text"}
        network = open_clip.CustomTextCLIP(**parts).eval()
    draw = Draw(seed)
    state = {name: _values(draw, name, each.shape) for name, each in network.state_dict().items()}
    network.load_state_dict(state, assign=True)
    _spread_vectors(network.visual, model["vision_cfg"]["image_size"])
    return state


def _values(draw: Draw, name: str, shape: torch.Size) -> Tensor:
    if name.startswith("logit"):
        return torch.full(shape, math.log(100.0) if name == "logit_scale" else -10.0)
    if name.endswith("trunk.pos_embed"):
        return draw.smooth_grid(math.isqrt(shape[1]), shape[2], std=0.35)[None]
    if name.endswith("patch_embed.proj.weight"):
        return draw.patch_filter(shape[0], shape[2])
    if name.endswith("gamma"):
        return torch.exp(draw(*shape, std=0.3))
    if re.search(r"token|positional_embedding", name):
        return draw(*shape, std=0.3)
    if name.endswith("latent"):
        return draw(*shape)
    usual = re.sub(r"ln_\w+\.", "norm.", name).replace("attn.proj", "out_proj")
    usual = usual.replace("c_proj", "fc2").replace("attn_pool.q.", "q_proj.")
    values = draw.block(usual, shape, residual=1.0)
    if re.search(r"qkv\.weight|in_proj_weight", name):
        values[: 2 * shape[1]] *= 1.3  # as ``Draw.block`` does for separate query and key weights
    if "blocks." in name and re.search(r"(out_proj|fc2)\.weight", usual):
        values *= 0.35
    return values


def _spread_vectors(tower: Any, edge: int) -> None:
    """Subtract most of the vectors' mean, so that different images get different vectors."""
    trunk = tower.trunk
    last = trunk.fc_norm if trunk.attn_pool is None else trunk.attn_pool.mlp.fc2
    images = normalise(pictures(16, edge, edge, SEED + 200), MEAN, STD)
    last.bias.sub_(0.8 * trunk(images).mean(0))


def _tokenizer_files() -> dict[str, Any]:
    """Return the files of a tokenizer like Gemma's: spaces become "▁", and <eos> ends a text."""
    special = ("<pad>", "<eos>", "<bos>", "<unk>")
    words = [*special, *(f"<0x{byte:02X}>" for byte in range(256)), "▁"]
    numbers = {word: number for number, word in enumerate(words)}
    tokenizer = Tokenizer(BPE(numbers, [], unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.add_special_tokens(list(special))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A <eos>", special_tokens=[("<eos>", numbers["<eos>"])]
    )
    names = {f"{word.strip('<>')}_token": word for word in special}
    config = {"tokenizer_class": "GemmaTokenizer", "padding_side": "right"}
    return {
        "tokenizer.json": tokenizer.to_str(),
        "tokenizer_config.json": config | names,
        "special_tokens_map.json": names,
    }
