# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Compares our tokens with open_clip's, and tests which texts are refused."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from open_clip.tokenizer import SimpleTokenizer

from app.errors import BadRequest, TooLarge
from app.models import tokens

THEIRS = SimpleTokenizer()
TEXTS = [
    "a photo of a cat",
    "A Cat's tail, IT'S the DOG'S",
    "naïve café, Ǆ, İstanbul, ſ'ſ, ﬁne",
    "“quoted” – it’s schÃ¶n",  # ftfy repairs the last word
    "日本語のテキスト 한국어 عربى हिन्दी",
    "👩‍👩‍👧‍👦 🎉 a\u0301b ½ ² Ⅷ",
    "salt &amp; pepper &amp;lt;b&amp;gt; &nbsp;x &#x41; &bogus;",
    "  white \t\n\u3000 space\x85 \u200b ",
    "<start_of_text> <end_of_text> !<END_OF_TEXT> <|endoftext|>",
    "1234567 !!!??? ... $9.99",
    "word " * 200,
    "x" * tokens.MAX_CHARACTERS,
    "&" + "amp;" * 400,
    "\x00\x1b[31mred",
]
FRAGMENTS = ["<start_of_text>", "<end_of_text>", "&amp;", "&lt;", "'s", "Ã¶", "é", "ſ", " ", "a"]


def same(text: str, length: int) -> None:
    ours = tokens.encode(text, length)
    assert ours.ids.tolist() == THEIRS(text, length)[0].tolist()
    whole = len(THEIRS.encode(text)) + 2
    assert (ours.count, ours.truncated) == (min(whole, length), whole > length)


@pytest.mark.parametrize("length", [77, 32])
@pytest.mark.parametrize("text", TEXTS)
def test_the_same_numbers_as_open_clip(text: str, length: int) -> None:
    same(text, length)


@settings(deadline=None, max_examples=300)
@example("'ſ")
@given(st.one_of(st.text(max_size=60), st.lists(st.sampled_from(FRAGMENTS)).map("".join)))
def test_the_same_numbers_for_any_text(text: str) -> None:
    if THEIRS.encode(text):
        same(text, 77)
    else:
        with pytest.raises(BadRequest):
            tokens.encode(text, 77)


@pytest.mark.parametrize("text", ["", "  \n", "&nbsp;", "\u2003"])
def test_a_blank_text_is_refused(text: str) -> None:
    with pytest.raises(BadRequest, match="blank"):
        tokens.encode(text, 77)


def test_a_book_is_refused() -> None:
    with pytest.raises(TooLarge, match="4097 characters; at most 4096 are accepted"):
        tokens.encode("a" * 4097, 77)


def test_torch_is_not_needed() -> None:
    code = "import sys; from app.models import tokens; tokens.load(); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
