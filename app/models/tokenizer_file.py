# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tokenizes texts by a checkpoint's own ``tokenizer.json``, a file of the ``tokenizers`` library.

https://huggingface.co/docs/tokenizers. Most checkpoints on the hub have this file; it holds the
vocabulary, how texts are cleaned and split, and which special tokens are added.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from app.engines.base import LoadError
from app.errors import BadRequest, TooLarge
from app.models.tokens import MAX_CHARACTERS, Tokens


class TokenizerFile:
    """One ``tokenizer.json``, with the context length and padding of a model."""

    def __init__(
        self, file: Path, length: int, pad: int, clean: Callable[[str], str] = lambda text: text
    ) -> None:
        """Load the tokenizer.

        Args:
            file: the ``tokenizer.json``.
            length: the network's context length in tokens, special tokens included.
            pad: id of the token that fills the rest of the context, at the end.
            clean: changes a text before it is tokenized, where the model wants that.

        Raises:
            LoadError: the file is damaged.
        """
        from tokenizers import Tokenizer

        try:
            self._tokenizer: Any = Tokenizer.from_file(str(file))
        except Exception as error:  # the library raises Exception itself
            raise LoadError(f"{file.name} is damaged") from error
        # The file may say something else about both, which belongs to other uses of the model.
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(length)
        self._length, self._pad, self._clean = length, pad, clean

    def encode(self, text: str) -> Tokens:
        """Tokenize a text; tokens beyond the context length are dropped.

        Raises:
            BadRequest: the text is empty or only white space.
            TooLarge: the text has more than MAX_CHARACTERS characters.
        """
        if len(text) > MAX_CHARACTERS:
            raise TooLarge(
                f"The text has {len(text)} characters; at most {MAX_CHARACTERS} are accepted, "
                f"and the model reads only the first {self._length} tokens"
            )
        cleaned = self._clean(text)
        if not cleaned.strip():
            raise BadRequest("The text is blank", title="No text provided")
        encoding = self._tokenizer.encode(cleaned)
        ids = np.full(self._length, self._pad, np.int64)
        ids[: len(encoding.ids)] = encoding.ids
        return Tokens(ids, len(encoding.ids), bool(encoding.overflowing))
