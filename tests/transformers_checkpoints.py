# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Makes tiny checkpoints of the family ``transformers`` with random weights."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import AutoModel

from app.hub.store import Checkpoint
from config.models import ModelSpec

_LAYERS = {"intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
_VISION = {"hidden_size": 32, "image_size": 32, "patch_size": 8, **_LAYERS}
_TEXT = {"hidden_size": 40, **_LAYERS}
_ALPHABET = [chr(33 + i) for i in range(94)]
#: The few merges of a vocabulary that is like CLIP's: it also has bytes, and bytes that end a word.
_MERGES = [("a", "t</w>"), ("c", "at</w>"), ("p", "h"), ("o", "t"), ("ph", "ot"), ("phot", "o</w>")]


def _bytes() -> list[str]:
    return sorted(pre_tokenizers.ByteLevel.alphabet())


def clip_vocabulary() -> dict[str, int]:
    words = [*_bytes(), *(f"{each}</w>" for each in _bytes()), *(a + b for a, b in _MERGES)]
    return {word: i for i, word in enumerate([*words, "<|startoftext|>", "<|endoftext|>"])}


def _write(folder: Path, name: str, content: object) -> None:
    (folder / name).write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")


def clip_json(folder: Path) -> None:
    """Write a ``tokenizer.json``, which newer CLIP checkpoints have."""
    merges: Any = [*_MERGES]
    transformers.CLIPTokenizer(vocab=clip_vocabulary(), merges=merges).save_pretrained(folder)


def clip_files(folder: Path) -> None:
    """Write ``vocab.json``, ``merges.txt`` and special tokens as in OpenAI's checkpoints."""
    _write(folder, "vocab.json", clip_vocabulary())
    lines = ["#version: 0.2", *(" ".join(pair) for pair in _MERGES)]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    flags = {"lstrip": False, "rstrip": False, "single_word": False, "normalized": True}
    token = {"__type": "AddedToken", **flags}
    end = {"content": "<|endoftext|>", **token}
    special = {"bos_token": {"content": "<|startoftext|>", **token}, "eos_token": end}
    settings = {**special, "unk_token": end, "pad_token": "<|endoftext|>", "model_max_length": 77}
    _write(folder, "tokenizer_config.json", {**settings, "tokenizer_class": "CLIPTokenizer"})


def _pieces() -> list[str]:
    letters = [*_ALPHABET, *"éüß猫狗在图片"]
    return [*letters, *(f"▁{each}" for each in letters), "▁", "▁cat", "▁photo", "▁of", "at", "ho"]


def xlm_roberta(folder: Path) -> None:
    words = ["<s>", "<pad>", "</s>", "<unk>", *_pieces(), "<mask>"]
    vocabulary = [(word, -float(i % 7) - 4 * (len(word) < 3)) for i, word in enumerate(words)]
    transformers.XLMRobertaTokenizer(vocab=vocabulary).save_pretrained(folder)


def bert_vocabulary() -> list[str]:
    letters = [*"abcdefghijklmnopqrstuvwxyz0123456789.,!?&'-", *"猫狗在图片的"]
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    return [*special, *letters, *(f"##{each}" for each in letters), "photo", "cat"]


def bert_txt(folder: Path) -> None:
    """Write only ``vocab.txt``, as in Chinese CLIP's checkpoints."""
    (folder / "vocab.txt").write_text("\n".join(bert_vocabulary()) + "\n", encoding="utf-8")


def bert_json(folder: Path) -> None:
    vocabulary = {word: i for i, word in enumerate(bert_vocabulary())}
    transformers.BertTokenizer(vocab=vocabulary).save_pretrained(folder)


def siglip(folder: Path) -> None:
    """Write a tokenizer like SigLIP's, which is of T5's kind and needs cleaned texts."""
    words = ["<pad>", "</s>", "<unk>", *_pieces()]
    tokenizer = Tokenizer(
        models.Unigram([(word, -float(i % 5)) for i, word in enumerate(words)], 2)
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.add_special_tokens(["<pad>", "</s>", "<unk>"])
    tokenizer.post_processor = processors.TemplateProcessing(
        "$A </s>", special_tokens=[("</s>", 1)]
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {"pad_token": "</s>", "eos_token": "</s>", "unk_token": "<unk>"}
    names = {"tokenizer_class": "SiglipTokenizer", "model_max_length": 64, "do_lower_case": True}
    _write(folder, "tokenizer_config.json", {**settings, **names})


def siglip_2(folder: Path) -> None:
    """Write a tokenizer like SigLIP 2's, which is of Gemma's kind."""
    hexes = [f"<0x{i:02X}>" for i in range(256)]
    words = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", *hexes, *_pieces(), "ca", "cat"]
    merges = [("c", "a"), ("ca", "t")]
    numbers = {word: i for i, word in enumerate(dict.fromkeys(words))}
    tokenizer = Tokenizer(models.BPE(numbers, merges, unk_token="<unk>", byte_fallback=True))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    tokenizer.add_special_tokens(["<pad>", "<eos>", "<bos>", "<unk>"])
    end = [("<eos>", 1)]
    tokenizer.post_processor = processors.TemplateProcessing("$A <eos>", special_tokens=end)
    tokenizer.enable_padding(length=64, pad_id=0, pad_token="<pad>")  # like the published file
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {"pad_token": "<pad>", "eos_token": "<eos>", "padding_side": "right"}
    names = {"tokenizer_class": "GemmaTokenizer", "model_max_length": 10**30}
    _write(folder, "tokenizer_config.json", {**settings, **names})


def _none(folder: Path) -> None:
    """Write no tokenizer, for models that embed images only."""


CROPPED = {"do_center_crop": True, "crop_size": {"height": 32, "width": 32}, "do_resize": True}
SQUASHED = {"size": {"height": 32, "width": 32}, "do_resize": True, "resample": 3}
CLIP_PICTURES = {
    **CROPPED,
    "size": {"shortest_edge": 32},
    "resample": 3,
    "image_processor_type": "CLIPImageProcessor",
}
#: The settings as files from 2021 state them.
OLD_PICTURES = {
    "crop_size": 32,
    "do_center_crop": True,
    "do_normalize": True,
    "do_resize": True,
    "feature_extractor_type": "CLIPFeatureExtractor",
    "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_std": [0.26862954, 0.26130258, 0.27577711],
    "resample": 3,
    "size": 32,
}


class Case:
    """The parts from which a checkpoint is made."""

    def __init__(
        self,
        config: Callable[[int], Any],
        tokenizer: Callable[[Path], None],
        pictures: dict[str, Any],
        half: bool = False,
    ) -> None:
        self.config, self.tokenizer, self.pictures = config, tokenizer, pictures
        #: whether the weights are stored as 16-bit floats
        self.half = half


def _two(name: str, **text: Any) -> Callable[[int], Any]:
    """A function that makes the configuration of a CLIP-like model for a vocabulary's size."""

    def config(vocabulary: int) -> Any:
        ends = {"eos_token_id": vocabulary - 1} | text
        words = {**_TEXT, "vocab_size": vocabulary, **ends}
        return getattr(transformers, f"{name}Config")(
            text_config=words, vision_config=_VISION, projection_dim=24
        )

    return config


def _siglip(vocabulary: int) -> Any:
    text = {**_TEXT, "hidden_size": 32, "vocab_size": vocabulary}
    return transformers.SiglipConfig(text_config=text, vision_config=_VISION)


def _dinov2(_: int) -> Any:
    size = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    return transformers.Dinov2Config(**size, image_size=70, patch_size=14)


def _dinov3(_: int) -> Any:
    return transformers.DINOv3ViTConfig(**_VISION, num_register_tokens=4)


CASES = {
    "clip": Case(_two("CLIP"), clip_json, CLIP_PICTURES),
    "clip by OpenAI": Case(_two("CLIP", eos_token_id=2), clip_files, OLD_PICTURES, half=True),
    "metaclip_2": Case(
        _two("MetaClip2", eos_token_id=2),
        xlm_roberta,
        {**CLIP_PICTURES, "image_processor_type": "CLIPImageProcessorFast"},
    ),
    "chinese_clip": Case(
        _two("ChineseCLIP", max_position_embeddings=60),
        bert_txt,
        {**SQUASHED, "do_center_crop": False, "image_processor_type": "ChineseCLIPImageProcessor"},
    ),
    "chinese_clip with tokenizer.json": Case(
        _two("ChineseCLIP", max_position_embeddings=40),
        bert_json,
        {**CROPPED, "size": {"shortest_edge": 40}, "feature_extractor_type": None, "resample": 1},
    ),
    "altclip": Case(
        _two("AltCLIP", max_position_embeddings=90, project_dim=28), xlm_roberta, OLD_PICTURES
    ),
    "siglip": Case(_siglip, siglip, {**SQUASHED, "image_processor_type": "SiglipImageProcessor"}),
    "siglip 2": Case(
        _siglip,
        siglip_2,
        {
            **SQUASHED,
            "resample": 2,
            "image_mean": [0.5, 0.4, 0.3],
            "image_processor_type": "SiglipImageProcessorFast",
        },
    ),
    "dinov2": Case(
        _dinov2,
        _none,
        {
            "crop_size": {"height": 42, "width": 42},
            "size": {"shortest_edge": 48},
            "image_mean": [0.485, 0.456, 0.406],
            "image_std": [0.229, 0.224, 0.225],
            "image_processor_type": "BitImageProcessor",
        },
    ),
    "dinov3_vit": Case(
        _dinov3,
        _none,
        {
            "size": {"height": 48, "width": 48},
            "image_processor_type": "DINOv3ViTImageProcessorFast",
            "rescale_factor": 1 / 255,
        },
    ),
}


def make(name: str, folder: Path) -> Checkpoint:
    """Write the checkpoint of a case into a folder."""
    case = CASES[name]
    folder.mkdir(parents=True, exist_ok=True)
    case.tokenizer(folder)
    torch.manual_seed(len(name))
    auto: Any = AutoModel
    network = auto.from_config(case.config(_vocabulary(folder))).eval()
    with torch.no_grad():
        for key, parameter in network.named_parameters():
            # Large enough that a mistake in any part of the network changes the vectors.
            parameter.normal_(0, 0.3 if parameter.ndim > 1 else 0.5)
            if "position" in key:
                parameter.mul_(3)
            if "norm" in key.lower() and key.endswith("weight"):
                parameter.add_(1)
    (network.half() if case.half else network).save_pretrained(folder)
    pictures = {key: value for key, value in case.pictures.items() if value is not None}
    _write(folder, "preprocessor_config.json", pictures)
    return Checkpoint(folder, "main", folder)


def _vocabulary(folder: Path) -> int:
    if (folder / "tokenizer.json").is_file():
        return Tokenizer.from_file(str(folder / "tokenizer.json")).get_vocab_size()
    return len(bert_vocabulary() if (folder / "vocab.txt").is_file() else clip_vocabulary())


def row(**more: Any) -> ModelSpec:
    return ModelSpec(key="tiny", family="transformers", path=Path("/nowhere"), **more)
