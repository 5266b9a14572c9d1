# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tokenizes texts with a checkpoint's own ``tokenizer.json``, a file of the ``tokenizers`` library.

See https://huggingface.co/docs/tokenizers. Most checkpoints on the hub have this file. It holds the
vocabulary and states how texts are cleaned and split, and which special tokens are added.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np

from app.engines.base import LoadError
from app.errors import BadRequest, TooLarge
from app.models.tokens import MAX_CHARACTERS, Tokens

Side = Literal["left", "right"]


class TokenizerFile:
    """One ``tokenizer.json`` with the context length and padding of a model."""

    def __init__(
        self,
        file: Path,
        length: int,
        pad: int | str,
        clean: Callable[[str], str] = lambda text: text,
        *,
        erased: str | None = None,
        pad_side: Side = "right",
        cut_side: Side = "right",
        template: list[str] | None = None,
        marks_language: bool = False,
        read: Callable[[Path], Any] | None = None,
    ) -> None:
        """Load the tokenizer.

        Args:
            file: the ``tokenizer.json``.
            length: the network's context length in tokens, special tokens included.
            pad: the token that fills the rest of the context, or its id.
            clean: cleans a text before it is tokenized; by default the text stays as it is.
            erased: a token whose id is replaced by 0; None: no token.
            pad_side: the side on which the rest of the context is filled.
            cut_side: the side on which tokens of a text that is too long are dropped.
            template: the special tokens around a text, with "$A" for the text; None: those that
                the file states.
            marks_language: whether the first token of the template, or else its last one, is the
                code of the text's language.
            read: makes a ``tokenizers.Tokenizer`` of a file that is not a ``tokenizer.json``.

        Raises:
            LoadError: the file is damaged, or lacks one of the tokens in the arguments.
        """
        from tokenizers import Tokenizer
        from tokenizers.processors import TemplateProcessing

        try:
            self._tokenizer: Any = read(file) if read else Tokenizer.from_file(str(file))
            if template is not None:
                special = [(each, self._id(each)) for each in template if each != "$A"]
                self._tokenizer.post_processor = TemplateProcessing(
                    single=template, special_tokens=special
                )
            # Overrides the file's own padding and truncation, which may be for other uses.
            self._tokenizer.no_padding()
            self._tokenizer.enable_truncation(length, direction=cut_side)
        except LoadError:
            raise
        except Exception as error:  # the library raises Exception itself
            raise LoadError(f"{file.name} is damaged") from error
        self._length, self._clean = length, clean
        self._pad = self._id(pad) if isinstance(pad, str) else pad
        self._pads_left = pad_side == "left"
        self._erased = None if erased is None else self._id(erased)
        self._language_at = None
        if marks_language and template is not None:
            self._language_at = -1 if template[0] == "$A" else 0

    def encode(self, text: str, language: str | None = None) -> Tokens:
        """Tokenize a text; tokens beyond the context length are dropped.

        Args:
            text: the text.
            language: a token that replaces the one for the language, where there is one; a token
                that the tokenizer does not know changes nothing.

        Raises:
            BadRequest: nothing but white space is left of the text after it is cleaned.
            TooLarge: the text has more than MAX_CHARACTERS characters.
        """
        if len(text) > MAX_CHARACTERS:
            raise TooLarge(
                f"The text has {len(text)} characters; at most {MAX_CHARACTERS} are accepted, "
                f"and the model reads only the first {self._length} tokens",
                code="text_too_long",
            )
        cleaned = self._clean(text)
        if not cleaned.strip():
            reason = "has only characters that the model ignores" if text.strip() else "is blank"
            raise BadRequest(f"The text {reason}", title="No text provided")
        encoding = self._tokenizer.encode(cleaned)
        found = encoding.ids
        if language is not None and self._language_at is not None:
            code = self._tokenizer.token_to_id(language)
            found[self._language_at] = found[self._language_at] if code is None else code
        count = len(found)
        ids = np.full(self._length, self._pad, np.int64)
        ids[slice(self._length - count, None) if self._pads_left else slice(count)] = found
        if self._erased is not None:
            ids[ids == self._erased] = 0
        return Tokens(ids, count, bool(encoding.overflowing))

    @property
    def highest_id(self) -> int:
        """The highest id in the vocabulary."""
        return int(max(self._tokenizer.get_vocab().values()))

    def special_tokens(self, text: str) -> list[int | None]:
        """The ids of a text's special tokens in order, with None in place of all other tokens."""
        found = self._tokenizer.encode(text)
        pairs = zip(found.ids, found.special_tokens_mask, strict=True)
        return [id if is_special else None for id, is_special in pairs]

    def _id(self, token: str) -> int:
        found = self._tokenizer.token_to_id(token)
        if found is None:
            raise LoadError(f"the tokenizer lacks the token {token}")
        return int(found)
