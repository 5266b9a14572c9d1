# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""CLIP's tokenizer: converts a text to the token ids that a text tower reads.

The ids are the same as those of ``open_clip.tokenizer.SimpleTokenizer``. That class is not used
because it imports torch, which some processes must avoid. This module has the same merge table,
cleaning (ftfy, HTML entities, white space, lower case) and word pattern as that class; the
``tokenizers`` library does the byte-pair merging.
"""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.errors import BadRequest, TooLarge
from app.models.cleaning import Clean, lower

VOCABULARY = 49408
START, END = "<start_of_text>", "<end_of_text>"
# Longest accepted text. A network reads only about 300 characters, and the time of ftfy can grow
# with the square of the length.
MAX_CHARACTERS = 4096
_WORD = rf"{START}|{END}|'s|'t|'re|'ve|'m|'ll|'d|[\p{{L}}]+|[\p{{N}}]|[^\s\p{{L}}\p{{N}}]+"


@dataclass(frozen=True)
class Tokens:
    """A tokenized text: the input of a text network."""

    #: [context length] int64 token ids, padded
    ids: NDArray[np.int64]
    #: number of ids without the padding, start and end tokens included
    count: int
    #: whether tokens of the text were dropped because they did not fit
    truncated: bool


@cache
def load() -> tuple[Any, Any]:
    """The word pattern and the tokenizer; the first call in a process takes about a second.

    It is called when a text network is loaded, not before the fork, so that services that embed no
    texts do not spend the time and memory.
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


def encode(text: str, length: int, clean: Clean = lower) -> Tokens:
    """Tokenize a text.

    Args:
        text: any text.
        length: the network's context length in tokens, start and end tokens included; tokens of
            the text beyond it are dropped.
        clean: repairs and cleans the text; almost all checkpoints want ``lower``.

    Raises:
        BadRequest: the text is empty or only white space.
        TooLarge: the text has more than MAX_CHARACTERS characters.
    """
    if len(text) > MAX_CHARACTERS:
        raise TooLarge(
            f"The text has {len(text)} characters; at most {MAX_CHARACTERS} are accepted, "
            f"and the model reads only the first {length} tokens",
            code="text_too_long",
        )
    pattern, tokenizer = load()
    found = pattern.findall(clean(text))
    if not found:
        raise BadRequest("The text is blank", title="No text provided")
    inner = tokenizer.encode(found, is_pretokenized=True, add_special_tokens=False).ids
    kept = inner[: length - 2]
    ids = np.zeros(length, np.int64)
    # The start and end tokens have the two highest ids. The network takes the text's vector from
    # the position of the highest id, which is the end token.
    ids[: len(kept) + 2] = [VOCABULARY - 2, *kept, VOCABULARY - 1]
    return Tokens(ids, len(kept) + 2, len(inner) > len(kept))


def _merges() -> list[tuple[str, str]]:
    """The byte-pair merges in order of priority, from the file in the open_clip package."""
    package = find_spec("open_clip")  # without importing it
    assert package is not None
    assert package.origin is not None
    path = Path(package.origin).with_name("bpe_simple_vocab_16e6.txt.gz")
    lines = gzip.decompress(path.read_bytes()).decode().split("\n")
    # The first line is a comment. The vocabulary consists of two symbols for each byte, the start
    # and end tokens, and one token for each merge; the file has more merges than are used.
    count = VOCABULARY - 2 * 256 - 2
    pairs = [line.split() for line in lines[1 : count + 1]]
    return [(one, other) for one, other in pairs]
