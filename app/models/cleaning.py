# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""The ways in which open_clip cleans texts before it tokenizes them."""

from __future__ import annotations

import html
import string
from collections.abc import Callable

Clean = Callable[[str], str]

_NO_PUNCTUATION = str.maketrans("_", " ", string.punctuation.replace("_", ""))


def whitespace(text: str) -> str:
    """Repairs characters, resolves HTML entities, and replaces all white space by single spaces."""
    import ftfy

    return " ".join(html.unescape(html.unescape(ftfy.fix_text(text))).split())


def lower(text: str) -> str:
    """Cleans like ``whitespace``, and converts to lower case."""
    return whitespace(text).lower()


def canonicalize(text: str) -> str:
    """Cleans like ``lower``, and removes ASCII punctuation; an underscore becomes a space."""
    return " ".join(whitespace(text).translate(_NO_PUNCTUATION).lower().split())


#: The functions by the names that "clean" in a checkpoint's ``tokenizer_kwargs`` can have.
CLEANERS: dict[str, Clean] = {
    "whitespace": whitespace,
    "lower": lower,
    "canonicalize": canonicalize,
}
