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
        self,
        file: Path,
        length: int,
        pad: int | str,
        clean: Callable[[str], str] = lambda text: text,
        read: Callable[[Path], Any] | None = None,
    ) -> None:
        """Load the tokenizer.

        Args:
            file: the ``tokenizer.json``.
            length: the network's context length in tokens, special tokens included.
            pad: the token that fills the rest of the context, at the end: its id, or the token.
            clean: changes a text before it is tokenized, where the model wants that.
            read: makes a ``tokenizers.Tokenizer`` from a file of another kind.

        Raises:
            LoadError: the file is damaged.
        """
        from tokenizers import Tokenizer

        try:
            self._tokenizer: Any = read(file) if read else Tokenizer.from_file(str(file))
        except Exception as error:  # the library raises Exception itself
            raise LoadError(f"{file.name} is damaged") from error
        # The file may say something else about both, which belongs to other uses of the model.
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(length)
        self._length, self._clean = length, clean
        self._pad = self.id_of(pad) if isinstance(pad, str) else pad

    @property
    def highest_id(self) -> int:
        """The highest id of a token."""
        return int(max(self._tokenizer.get_vocab().values()))

    def id_of(self, token: str) -> int:
        """The id of a token. Raises LoadError if the vocabulary lacks it."""
        found = self._tokenizer.token_to_id(token)
        if found is None:
            raise LoadError(f"the vocabulary of its tokenizer lacks {token}")
        return int(found)

    def special_tokens(self, text: str) -> list[int | None]:
        """The ids of a text's tokens, with None for those that stand for a part of the text."""
        found = self._tokenizer.encode(text)
        pairs = zip(found.ids, found.special_tokens_mask, strict=True)
        return [id if is_special else None for id, is_special in pairs]

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
