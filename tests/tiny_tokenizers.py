# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Small tokenizers in the layouts of those that open_clip's checkpoints come with."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tokenizers import Regex, Tokenizer, normalizers, pre_tokenizers, processors, trainers
from tokenizers.models import BPE, Unigram, WordPiece

TEXTS = [
    "a photo of a cat",
    "A Photo, of a CAT!  On_a mat...",
    "schön & gut &amp; größer 🎉🎉 — “so”",
    "漢字とかな, кошка на солнце, قطة",
    "word " * 200,
    "x",
    " \t tabs\nand   spaces \u3000 ",
    "<eos> and </s> and [SEP] inside <pad> <unk>",
    "it's 3.14, isn't it? 100% e-mail@example.com",
    "a\u0301 combining, ﬁ ligature, ½",
]
_CORPUS = [
    "a photo of a cat on the mat",
    "the dog and the bird on the beach",
    "words and spaces, tabs and sun; it is not so good",
    "schön und gut, größer",
    "кошка на солнце",
    "combining 100 words with example mail",
] * 4


def _write(folder: Path, tokenizer: Tokenizer, config: dict[str, Any]) -> None:
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps(config))


def gemma(folder: Path) -> None:
    """SigLIP 2: byte-pair encoding with byte fallback, an end token and no start token."""
    special = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"]
    trained = Tokenizer(BPE())
    trained.normalizer = normalizers.Replace(" ", "▁")
    trainer = trainers.BpeTrainer(vocab_size=400, special_tokens=special, show_progress=False)
    trained.train_from_iterator(_CORPUS, trainer)
    model = json.loads(trained.to_str())["model"]
    vocabulary = dict(model["vocab"])
    for byte in range(256):
        vocabulary.setdefault(f"<0x{byte:02X}>", len(vocabulary))
    merges = [(one, other) for one, other in model["merges"]]
    tokenizer = Tokenizer(
        BPE(vocabulary, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True)
    )
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    tokenizer.add_special_tokens(special)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A <eos>", special_tokens=[("<eos>", 1)]
    )
    config = {
        "add_bos_token": True,  # transformers ignores both where there is a tokenizer.json
        "add_eos_token": False,
        "bos_token": "<bos>",
        "eos_token": {"content": "<eos>", "__type": "AddedToken"},
        "pad_token": "<pad>",
        "unk_token": "<unk>",
        "padding_side": "right",
        "tokenizer_class": "GemmaTokenizer",
    }
    _write(folder, tokenizer, config)


def _unigram(special: list[str], unknown: str) -> Tokenizer:
    tokenizer = Tokenizer(Unigram())
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()]
    )
    trainer = trainers.UnigramTrainer(
        vocab_size=150, special_tokens=special, unk_token=unknown, show_progress=False
    )
    tokenizer.train_from_iterator(_CORPUS, trainer)
    return tokenizer


def t5(folder: Path) -> None:
    """SigLIP: sentencepiece, padded with its end token."""
    tokenizer = _unigram(["<pad>", "</s>", "<unk>"], "<unk>")
    tokenizer.normalizer = None
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", 1)]
    )
    config = {
        "eos_token": "</s>",
        "pad_token": "</s>",
        "unk_token": "<unk>",
        "extra_ids": 0,
        "additional_special_tokens": [],
        "tokenizer_class": "T5Tokenizer",
    }
    _write(folder, tokenizer, config)


def xlm_roberta(folder: Path) -> None:
    """XLM-R: sentencepiece between a start and an end; the file's own padding is another."""
    tokenizer = _unigram(["<s>", "<pad>", "</s>", "<unk>", "<mask>"], "<unk>")
    tokenizer.normalizer = None
    tokenizer.enable_padding(pad_id=1, pad_token="<pad>", length=9)
    config = {
        "bos_token": "<s>",
        "cls_token": "<s>",
        "eos_token": "</s>",
        "sep_token": "</s>",
        "pad_token": "<pad>",
        "unk_token": "<unk>",
        "model_max_length": 512,
        "tokenizer_class": "XLMRobertaTokenizer",
    }
    _write(folder, tokenizer, config)


def bert(folder: Path) -> None:
    """CLIPA: BERT's word pieces."""
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer = Tokenizer(WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(vocab_size=200, special_tokens=special, show_progress=False)
    tokenizer.train_from_iterator(_CORPUS, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    config = {"do_lower_case": True, "tokenizer_class": "BertTokenizer"}
    _write(folder, tokenizer, config)
    names = {"pad_token": "[PAD]", "sep_token": "[SEP]", "cls_token": "[CLS]"}
    (folder / "special_tokens_map.json").write_text(json.dumps(names))


def roberta(folder: Path) -> None:
    """RoBERTa: byte-level byte-pair encoding."""
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    tokenizer = Tokenizer(BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_CORPUS, trainer)
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    _write(folder, tokenizer, {"tokenizer_class": "RobertaTokenizer", "pad_token": "<pad>"})


def nllb(folder: Path) -> None:
    """NLLB: the file has its older template, with the language at the end."""
    special = ["<s>", "<pad>", "</s>", "<unk>", "eng_Latn", "fra_Latn", "<mask>"]
    tokenizer = Tokenizer(BPE(unk_token="<unk>", fuse_unk=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.BpeTrainer(vocab_size=300, special_tokens=special, show_progress=False)
    tokenizer.train_from_iterator(_CORPUS, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s> eng_Latn", special_tokens=[("</s>", 2), ("eng_Latn", 4)]
    )
    config = {
        "tokenizer_class": "NllbTokenizer",
        "src_lang": "eng_Latn",
        "additional_special_tokens": ["eng_Latn", "fra_Latn"],
        "pad_token": "<pad>",
    }
    _write(folder, tokenizer, config)


MAKERS: dict[str, Callable[[Path], None]] = {
    each.__name__: each for each in (gemma, t5, xlm_roberta, bert, roberta, nllb)
}
