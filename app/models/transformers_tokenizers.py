# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""The tokenizers of checkpoints in transformers' layout, made from the checkpoint's own files.

They are made from ``tokenizer.json`` if the checkpoint has one, otherwise from older vocabulary
files. Which tokens begin and end a text, and how texts are cleaned, depends on the architecture.
All of it is checked when the tokenizer is loaded, because a wrong token would give wrong vectors
without any error.
"""

from __future__ import annotations

import json
import re
import string
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.engines.base import LoadError, Unsupported
from app.models import description
from app.models.description import ABSENT
from app.models.tokenizer_file import Side, TokenizerFile

#: The files that a tokenizer can be made from, and ``tokenizer_config.json`` with its settings.
FILES = ("tokenizer.json", "tokenizer_config.json", "vocab.json", "merges.txt", "vocab.txt")
_SENTENCEPIECE = ("spiece.model", "sentencepiece.bpe.model", "tokenizer.model")
_CLIP_WORDS = (
    r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]"
    r"|[^\s\p{L}\p{N}]+"
)


@dataclass(frozen=True)
class Wanted:
    """What a text network requires of its tokens."""

    #: context length in tokens
    length: int
    #: number of tokens that the network has vectors for
    vocabulary: int
    #: id of the token that every text must end with, because the network searches for it; None: any
    #: special token will do
    end: int | None = None
    #: id of the padding token, set only if the network masks padding by this id; None: the
    #: tokenizer's own padding token
    pad: int | None = None


@dataclass(frozen=True)
class Kind:
    """How the tokenizer of an architecture is made."""

    #: older vocabulary files, which are read if there is no ``tokenizer.json``
    older: tuple[str, ...]
    #: makes a tokenizer from the first of these files and the content of ``tokenizer_config.json``
    read: Callable[[Path, Mapping[str, Any]], Any] | None
    #: the padding token if ``tokenizer_config.json`` does not name one
    pad: str
    #: whether a text begins with a special token
    has_start: bool = True
    #: whether ``tokenizer_config.json`` decides how texts are cleaned, see ``_cleaner``
    is_cleaned: bool = False


def missing(folder: Path, kind: Kind) -> str | None:
    """Which files a folder lacks for a tokenizer, as a message; None if it has all of them."""
    if (folder / "tokenizer.json").is_file() or _has_older(folder, kind):
        return None
    wanted = "tokenizer.json"
    if kind.older:
        wanted += f" (or {' and '.join(kind.older)})"
    there = [name for name in _SENTENCEPIECE if (folder / name).is_file()]
    instead = f"; {there[0]} alone is not supported" if there else ""
    return f"for texts, the checkpoint lacks {wanted}{instead}"


def check_settings(settings: Mapping[str, Any], kind: Kind, wanted: Wanted) -> None:
    """Check that the settings in ``tokenizer_config.json`` are supported. Raises Unsupported."""
    file = "tokenizer_config.json"
    # transformers' class for Gemma's tokenizer pads at the left unless the file says otherwise.
    side = settings.get(
        "padding_side", "left" if kind.is_cleaned and _is_gemma(settings) else "right"
    )
    if side != "right":
        raise Unsupported(f"{file} has padding_side {side}; supported is right")
    description.check(settings, {"truncation_side": ("right", "left", None, ABSENT)}, file)
    if kind.is_cleaned:
        _cleaner(settings)
        length = settings.get("model_max_length")
        if isinstance(length, int) and length < wanted.length:
            raise Unsupported(
                f"{file} has model_max_length {length}, config.json {wanted.length} positions"
            )


def load(folder: Path, kind: Kind, settings: Mapping[str, Any], wanted: Wanted) -> TokenizerFile:
    """The tokenizer of a checkpoint.

    Args:
        folder: the checkpoint's folder.
        kind: the tokenizer of its architecture.
        settings: content of ``tokenizer_config.json``; empty if there is no such file.
        wanted: what the text network requires.

    Raises:
        LoadError: a file is missing or damaged, or the tokenizer does not suit the network.
    """
    reason = missing(folder, kind)
    if reason is not None:
        raise LoadError(reason)
    check_settings(settings, kind, wanted)
    usual = "<pad>" if kind.is_cleaned and _is_gemma(settings) else kind.pad
    pad = wanted.pad if wanted.pad is not None else _token(settings.get("pad_token"), usual)
    clean = _cleaner(settings) if kind.is_cleaned else lambda text: text
    file, read = folder / "tokenizer.json", None
    if not file.is_file():
        reader = kind.read
        assert reader is not None
        file, read = folder / kind.older[0], lambda file: reader(file, settings)
    cut_side: Side = "left" if settings.get("truncation_side") == "left" else "right"
    tokenizer = TokenizerFile(file, wanted.length, pad, clean, cut_side=cut_side, read=read)
    _check(tokenizer, kind, wanted)
    return tokenizer


def byte_pairs(file: Path, settings: Mapping[str, Any]) -> Any:
    """CLIP's tokenizer, made from ``vocab.json`` and the ``merges.txt`` beside it."""
    from tokenizers import Regex, Tokenizer, normalizers, pre_tokenizers, processors
    from tokenizers.models import BPE

    start = _token(settings.get("bos_token"), "<|startoftext|>")
    end = _token(settings.get("eos_token"), "<|endoftext|>")
    unknown = _token(settings.get("unk_token"), "<|endoftext|>")
    vocabulary = json.loads(file.read_text(encoding="utf-8"))
    lines = file.with_name("merges.txt").read_text(encoding="utf-8").split("\n")
    pairs = [line.split() for line in lines if not line.startswith("#version")]
    merges = [(pair[0], pair[1]) for pair in pairs if pair]
    tokenizer = Tokenizer(
        BPE(vocabulary, merges, end_of_word_suffix="</w>", unk_token=unknown, fuse_unk=False)
    )
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_CLIP_WORDS), "removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    tokenizer.add_special_tokens(
        [_added(settings.get("bos_token"), start), _added(settings.get("eos_token"), end)]
    )
    tokenizer.post_processor = processors.RobertaProcessing(
        (end, _id(tokenizer, end)),
        (start, _id(tokenizer, start)),
        trim_offsets=False,
        add_prefix_space=False,
    )
    return tokenizer


def word_pieces(file: Path, settings: Mapping[str, Any]) -> Any:
    """BERT's tokenizer, made from ``vocab.txt``."""
    from tokenizers import Tokenizer, normalizers, pre_tokenizers, processors
    from tokenizers.models import WordPiece

    lines = file.read_text(encoding="utf-8").removesuffix("\n").split("\n")
    vocabulary = {line: number for number, line in enumerate(lines)}
    unknown = _token(settings.get("unk_token"), "[UNK]")
    start = _token(settings.get("cls_token"), "[CLS]")
    end = _token(settings.get("sep_token"), "[SEP]")
    pad = _token(settings.get("pad_token"), "[PAD]")
    mask = _token(settings.get("mask_token"), "[MASK]")
    tokenizer = Tokenizer(WordPiece(vocabulary, unk_token=unknown))
    tokenizer.normalizer = normalizers.BertNormalizer(
        clean_text=True,
        handle_chinese_chars=bool(settings.get("tokenize_chinese_chars", True)),
        strip_accents=settings.get("strip_accents"),
        lowercase=bool(settings.get("do_lower_case", True)),
    )
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.add_special_tokens([unknown, end, pad, start, mask])
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{start}:0 $A:0 {end}:0",
        special_tokens=[(token, _id(tokenizer, token)) for token in (start, end)],
    )
    return tokenizer


CLIP = Kind(("vocab.json", "merges.txt"), byte_pairs, pad="<|endoftext|>")
BERT = Kind(("vocab.txt",), word_pieces, pad="[PAD]")
XLM_ROBERTA = Kind((), None, pad="<pad>")
SIGLIP = Kind((), None, pad="</s>", has_start=False, is_cleaned=True)


def _has_older(folder: Path, kind: Kind) -> bool:
    return bool(kind.older) and all((folder / name).is_file() for name in kind.older)


def _check(tokenizer: TokenizerFile, kind: Kind, wanted: Wanted) -> None:
    """Raises Unsupported if the tokens do not suit the network."""
    if tokenizer.highest_id >= wanted.vocabulary:
        raise Unsupported(
            f"its tokenizer has the id {tokenizer.highest_id}, its text network "
            f"has only {wanted.vocabulary} tokens"
        )
    found = tokenizer.special_tokens("a")
    first, last = (found[0], found[-1]) if found else (None, None)
    if last is None or (kind.has_start and first is None):
        raise Unsupported("its tokenizer does not mark where a text begins and ends")
    if wanted.end is not None and last != wanted.end:
        raise Unsupported(f"its tokenizer ends a text with {last}, its text network {wanted.end}")


def _cleaner(settings: Mapping[str, Any]) -> Callable[[str], str]:
    """The function that cleans texts, which differs between SigLIP and SigLIP 2.

    Raises:
        Unsupported: the tokenizer is that of neither.
    """
    if _is_gemma(settings):
        return str.lower
    name = str(settings.get("tokenizer_class", "")).removesuffix("Fast")
    if name != "SiglipTokenizer":
        raise Unsupported(
            f'tokenizer_config.json has "tokenizer_class": {json.dumps(name)}; '
            "supported is SiglipTokenizer, Siglip2Tokenizer or GemmaTokenizer"
        )
    if settings.get("do_lower_case", True):
        return lambda text: _without_punctuation(text.lower())
    return _without_punctuation


def _is_gemma(settings: Mapping[str, Any]) -> bool:
    """Whether the tokenizer is that of SigLIP 2."""
    name = str(settings.get("tokenizer_class", "")).removesuffix("Fast")
    return name in ("GemmaTokenizer", "Siglip2Tokenizer")


def _without_punctuation(text: str) -> str:
    bare = text.translate(str.maketrans("", "", string.punctuation))
    return re.sub(r"\s+", " ", bare).strip()


def _token(stated: object, default: str) -> str:
    """The text of a special token, which a settings file states as a string or as an object."""
    content = stated.get("content") if isinstance(stated, dict) else stated
    return content if isinstance(content, str) else default


def _id(tokenizer: Any, token: str) -> int:
    """The id of a special token; never None, because every tokenizer made here has it."""
    return int(tokenizer.token_to_id(token))


def _added(stated: object, token: str) -> Any:
    """A special token as an object of ``tokenizers``, with the properties that the file states."""
    from tokenizers import AddedToken

    names = ("single_word", "lstrip", "rstrip", "normalized")
    found = stated if isinstance(stated, dict) else {}
    return AddedToken(token, special=True, **{name: found[name] for name in names if name in found})
