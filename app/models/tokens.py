# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""CLIP's tokens: a text to the numbers that a text tower reads.

The same numbers as ``open_clip.tokenizer.SimpleTokenizer`` gives, which cannot be used where
nothing may import torch: its table of merges, its cleaning (ftfy, HTML entities, white space, lower
case) and its way to split words, with the merging done by the ``tokenizers`` library.
"""

from __future__ import annotations

import gzip
import html
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.errors import BadRequest, TooLarge

VOCABULARY = 49408
START, END = "<start_of_text>", "<end_of_text>"
# A network reads about 300 characters; what ftfy needs for an odd text grows with its square.
MAX_CHARACTERS = 4096
_WORD = rf"{START}|{END}|'s|'t|'re|'ve|'m|'ll|'d|[\p{{L}}]+|[\p{{N}}]|[^\s\p{{L}}\p{{N}}]+"


@dataclass(frozen=True)
class Tokens:
    """A text as the network's input."""

    #: [tokens] int64, as many as the network takes, zeros at the end
    ids: NDArray[np.int64]
    #: those that the network reads, with the marks of start and end
    count: int
    #: whether the text has more of them
    truncated: bool


@cache
def load() -> tuple[Any, Any]:
    """The pattern of words, and the tokenizer of words; once a process, about a second.

    Not before the fork: whoever never embeds a text shall not pay for it.
    """
    import regex
    from tokenizers import Tokenizer
    from tokenizers.models import BPE
    from tokenizers.pre_tokenizers import ByteLevel

    merges = _merges()
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    symbols = [chr(byte) for byte in printable]
    symbols += [chr(256 + number) for number in range(256 - len(printable))]
    ends = [f"{symbol}</w>" for symbol in symbols]
    words = [*symbols, *ends, *(one + other for one, other in merges), START, END]
    numbers = {word: number for number, word in enumerate(words)}
    tokenizer = Tokenizer(BPE(numbers, merges, end_of_word_suffix="</w>"))
    tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.add_special_tokens([START, END])
    return regex.compile(_WORD, regex.IGNORECASE), tokenizer


def encode(text: str, length: int) -> Tokens:
    """The tokens of a text, as many as the network takes.

    Args:
        text: what open_clip would repair and clean is repaired and cleaned.
        length: tokens that the network takes, with the marks of start and end; of a longer text
            the first ones are kept.

    Raises:
        BadRequest: there is nothing but white space in it.
        TooLarge: more than MAX_CHARACTERS.
    """
    if len(text) > MAX_CHARACTERS:
        raise TooLarge(
            f"The text has {len(text)} characters; at most {MAX_CHARACTERS} are accepted, "
            f"and the model reads only the first {length} tokens"
        )
    pattern, tokenizer = load()
    found = pattern.findall(_clean(text))
    if not found:
        raise BadRequest("The text is blank", title="No text provided")
    inner = tokenizer.encode(found, is_pretokenized=True, add_special_tokens=False).ids
    kept = inner[: length - 2]
    ids = np.zeros(length, np.int64)
    # The marks have the last two numbers; a network takes its vector at the highest one.
    ids[: len(kept) + 2] = [VOCABULARY - 2, *kept, VOCABULARY - 1]
    return Tokens(ids, len(kept) + 2, len(inner) > len(kept))


def _clean(text: str) -> str:
    import ftfy

    repaired = html.unescape(html.unescape(ftfy.fix_text(text)))
    return " ".join(repaired.split()).lower()


def _merges() -> list[tuple[str, str]]:
    """Pairs of symbols that become one, in their order; from open_clip's file."""
    package = find_spec("open_clip")  # without importing it
    assert package is not None
    assert package.origin is not None
    path = Path(package.origin).with_name("bpe_simple_vocab_16e6.txt.gz")
    lines = gzip.decompress(path.read_bytes()).decode().split("\n")
    # The first line is a comment; the vocabulary has room for so many beside bytes and marks.
    count = VOCABULARY - 2 * 256 - 2
    pairs = [line.split() for line in lines[1 : count + 1]]
    return [(one, other) for one, other in pairs]
