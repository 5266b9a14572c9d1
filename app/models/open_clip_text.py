# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Finds the tokenizer and the text encoder of an open_clip checkpoint.

open_clip names tokenizers and encoders of transformers by their repositories on the hub. The
published checkpoints also hold the tokenizer's files, which are used here. They do not hold the
encoder's config.json; the folder ``text_encoders`` has one for each encoder that open_clip's models
use.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Protocol

from app.engines.base import LoadError, Unsupported
from app.errors import BadRequest
from app.hub.store import Checkpoint
from app.models import description, tokens
from app.models.cleaning import CLEANERS, Clean
from app.models.description import ABSENT
from app.models.tokenizer_file import TokenizerFile
from app.models.tokens import Tokens

TOKENIZER, TOKENIZER_CONFIG, SPECIAL_TOKENS = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
)
#: the text encoder's config.json, which a user adds if ``text_encoders`` does not have it
ENCODER_CONFIG = "text_encoder_config.json"
_KNOWN_ENCODERS = Path(__file__).with_name("text_encoders")
_CONTEXT_LENGTH = 77  # like _VOCABULARY, open_clip's default
_VOCABULARY = tokens.VOCABULARY

# Special tokens of transformers' tokenizer classes, which apply unless the files name others.
_USUAL_TOKENS = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"}
_CLASS_TOKENS = {
    "BertTokenizer": {"pad_token": "[PAD]", "sep_token": "[SEP]"},
}
# Whether transformers' classes add a start token and an end token, whatever tokenizer.json says.
_CLASS_ENDS = {"T5Tokenizer": (False, True), "XLMRobertaTokenizer": (True, True)}


class Tokenizer(Protocol):
    """Converts texts to tokens."""

    def encode(self, text: str, language: str | None = None) -> Tokens:
        """Tokenize a text. Raises BadRequest or TooLarge."""


class ClipTokenizer:
    """CLIP's own tokenizer with a checkpoint's context length and text cleaning."""

    def __init__(self, length: int, clean: Clean) -> None:
        self._length, self._clean = length, clean
        tokens.load()

    def encode(self, text: str, language: str | None = None) -> Tokens:  # noqa: ARG002
        """See ``tokens.encode``."""
        return tokens.encode(text, self._length, self._clean)


class Texts:
    """Tokenizes texts as a checkpoint's ``text_cfg`` says."""

    def __init__(self, checkpoint: Checkpoint, settings: dict[str, Any], where: str) -> None:
        """Read the settings.

        Args:
            checkpoint: the checkpoint.
            settings: its ``text_cfg``.
            where: the name of that object, for messages.
        """
        self._checkpoint, self._settings, self._where = checkpoint, settings, where
        #: largest number of tokens of a text, start and end tokens included
        self.context_length = int(settings.get("context_length", _CONTEXT_LENGTH))
        self._tokenizer: Tokenizer | None = None
        self._vocabulary = 0

    def check(self) -> None:
        """Raises Unsupported if texts cannot be used; images may be usable nevertheless."""
        has_own_file = bool(self._settings.get("hf_tokenizer_name"))
        known = ("clean", "strip_sep_token") if has_own_file else ("clean",)
        kwargs = description.part(self._settings, "tokenizer_kwargs", self._where)
        where = f"tokenizer_kwargs of {self._where}"
        for name in kwargs:
            if name not in known:
                raise Unsupported(f'{where} has "{name}"; supported is {" or ".join(known)}')
        description.check(kwargs, {"clean": (*CLEANERS, ABSENT)}, where)
        description.check(self._settings, {"tokenizer_mode": (None, "", ABSENT)}, self._where)
        if has_own_file and not self._has(TOKENIZER):
            raise Unsupported(
                f"texts need {TOKENIZER} of {self._settings['hf_tokenizer_name']}, "
                f"which the checkpoint lacks; put it and {TOKENIZER_CONFIG} beside its weights"
            )
        self._vocabulary = self._vocabulary_size()
        if not has_own_file and self._vocabulary < tokens.VOCABULARY:
            raise Unsupported("texts of this checkpoint are not made of CLIP's own tokens")

    def tower_settings(self) -> dict[str, Any]:
        """``text_cfg`` with the path of the encoder's config.json in place of its name."""
        encoder = self._encoder_config()
        return self._settings if encoder is None else self._settings | {"hf_model_name": encoder}

    def load(self) -> Tokenizer:
        """The tokenizer; the first call loads it. Raises LoadError."""
        if self._tokenizer is None:
            self.check()
            self._tokenizer = self._load()
        return self._tokenizer

    def encode(self, text: str, language: str | None = None) -> Tokens:
        """Tokenize a text, see ``EmbeddingFamily.prepare_text``. Raises BadRequest or TooLarge."""
        found = self.load().encode(text, language)
        if found.ids.max() >= self._vocabulary:  # a tokenizer may have more tokens than the network
            raise BadRequest("The text has a special token that the model does not know")
        return found

    def _load(self) -> Tokenizer:
        kwargs = self._settings.get("tokenizer_kwargs") or {}
        if not self._settings.get("hf_tokenizer_name"):
            return ClipTokenizer(self.context_length, CLEANERS[kwargs.get("clean", "lower")])
        config = self._read(TOKENIZER_CONFIG)
        name = str(config.get("tokenizer_class", "")).removesuffix("Fast")
        names = {
            **_USUAL_TOKENS,
            **_CLASS_TOKENS.get(name, {}),
            **_named(self._read(SPECIAL_TOKENS)),
            **_named(config),
        }
        if kwargs.get("strip_sep_token") and "sep_token" not in names:
            raise LoadError("the tokenizer names no separator, which has to be stripped")
        return TokenizerFile(
            self._checkpoint.path / TOKENIZER,
            self.context_length,
            names["pad_token"],
            CLEANERS[kwargs.get("clean", "whitespace")],
            erased=names["sep_token"] if kwargs.get("strip_sep_token") else None,
            pad_side=config.get("padding_side", "left" if name == "GemmaTokenizer" else "right"),
            cut_side=config.get("truncation_side", "right"),
            template=_template(name, config, names),
            marks_language=name == "NllbTokenizer",
        )

    def _vocabulary_size(self) -> int:
        """Number of tokens that the network knows. Raises LoadError."""
        encoder = self._encoder_config()
        if encoder is None:
            return int(self._settings.get("vocab_size", _VOCABULARY))
        try:
            return int(json.loads(encoder.read_bytes())["vocab_size"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise LoadError(f"{encoder.name} is damaged") from error

    def _encoder_config(self) -> Path | None:
        """The config file of transformers' text encoder; None if the encoder is open_clip's own.

        Raises:
            Unsupported: the encoder is transformers', but its config file is not available.
        """
        name = self._settings.get("hf_model_name")
        if not name:
            return None
        for file in (
            self._checkpoint.path / ENCODER_CONFIG,
            _KNOWN_ENCODERS / f"{Path(str(name)).name}.json",
        ):
            if file.is_file():
                return file
        raise Unsupported(
            f"texts need the config.json of {name}; put it beside the weights as {ENCODER_CONFIG}"
        )

    def _has(self, file: str) -> bool:
        return (self._checkpoint.path / file).is_file()

    def _read(self, file: str) -> dict[str, Any]:
        return description.read(self._checkpoint, file) if self._has(file) else {}


def _named(found: dict[str, Any]) -> dict[str, str]:
    """The special tokens that a file names, either as strings or as objects with a "content"."""
    names = {}
    for kind in ("bos_token", "eos_token", "pad_token", "sep_token"):
        value = found.get(kind)
        if isinstance(value, dict):
            value = value.get("content")
        if isinstance(value, str):
            names[kind] = value
    return names


def _template(name: str, config: dict[str, Any], names: dict[str, str]) -> list[str] | None:
    """The special tokens around a text ("$A"); None if those in tokenizer.json apply.

    Some of transformers' classes add their own special tokens, whatever tokenizer.json says, and
    open_clip's models were trained with these.
    """
    bos, eos = names["bos_token"], names["eos_token"]
    if name == "NllbTokenizer":
        code = config.get("src_lang") or "eng_Latn"
        return ["$A", eos, code] if config.get("legacy_behaviour") else [code, "$A", eos]
    if name not in _CLASS_ENDS:
        return None
    starts, ends = _CLASS_ENDS[name]
    return [*([bos] if starts else []), "$A", *([eos] if ends else [])]
