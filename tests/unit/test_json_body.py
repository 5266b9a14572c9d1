# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests that JSON read in pieces gives the same values as JSON parsed as a whole."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import BadRequest, TooLarge, WrongShape
from app.server.json_body import MAX_BYTES, MAX_VALUES, DetachedString, JsonBody, read_json

MAX_IMAGE = 500_000
LONE = st.sampled_from(["\ud800", "\udfffa", "a\udbff"])
LONG = st.integers(900, 1100).map(lambda length: '\\é\U0001f600\ud800/"'[length % 6] * length)


def read(data: bytes, piece: int = 2**17) -> JsonBody:
    position = 0

    def more(size: int) -> bytes:
        nonlocal position
        begin, position = position, position + min(size, piece)
        return data[begin:position]

    return read_json(more, MAX_IMAGE)


def restored(body: JsonBody) -> Any:
    """Return the value of a body, with the detached strings put back in their places."""

    def put_back(value: Any) -> Any:
        if isinstance(value, dict):
            return {put_back(key): put_back(each) for key, each in value.items()}
        if isinstance(value, list):
            return [put_back(each) for each in value]
        found = body.strings.get(value) if isinstance(value, str) else None
        return value if found is None else found.text

    return put_back(json.loads(body.text))


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text() | LONE | LONG,
        lambda each: st.lists(each) | st.dictionaries(st.text() | LONG, each),
        max_leaves=10,
    ),
    st.booleans(),
    st.integers(1, 40),
)
def test_any_value_in_any_pieces(value: Any, ascii_only: bool, piece: int) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only, indent=piece % 3)
    body = read(text.encode("utf-8", "surrogatepass"), piece)
    assert restored(body) == value
    body.text.decode()
    assert len(body.text) <= max(len(text.encode("utf-8", "surrogatepass")), 40 * len(text))


@pytest.mark.parametrize("piece", [7, 1000, 2**17])
@pytest.mark.parametrize("escape", [str, lambda text: text.replace("/", "\\/")])
def test_images_are_detached(piece: int, escape: Callable[[str], str]) -> None:
    for size in (10, 5000, 300_000):
        image = os.urandom(size)
        text = escape(base64.b64encode(image).decode())
        body = read(f'{{"image_base64": "{text}"}}'.encode(), piece)
        (found,) = json.loads(body.text).values()
        if size == 10:
            assert base64.b64decode(found) == image
            continue
        with body.strings[found].image() as file:
            assert file.read() == image


def only(body: JsonBody) -> DetachedString:
    (found,) = body.strings.values()
    return found


def test_an_image_above_the_budget_is_measured_not_kept() -> None:
    text = base64.b64encode(bytes(2 * MAX_IMAGE))
    with pytest.raises(TooLarge, match=f"{2 * MAX_IMAGE} bytes"):
        only(read(b'"' + text + b'"')).image()


def test_a_long_text_is_counted() -> None:
    assert only(read(b'"' + b"a" * 3_000_000 + b'"')).length == 3_000_000
    text = only(read(json.dumps("\U0001f600" * 4096).encode()))
    assert text.length == 4096
    assert text.text == "\U0001f600" * 4096
    with pytest.raises(BadRequest, match="not base64"):
        text.image()


@pytest.mark.parametrize(
    "data",
    [
        '{"a": "é"}'.encode("latin-1"),
        b'"' + "é".encode("latin-1") * 5000 + b'"',
        b'"' + b"a" * 100_000 + b'\xff"',
        b'"' + b"a" * 100_000 + b'\xc3"',
        '{"a": 1}'.encode("utf-16"),
        '{"a": 1}'.encode("utf-16-le"),
        '{"a": 1}'.encode("utf-16-be"),
        '{"a": 1}'.encode("utf-32"),
        "{}".encode("utf-16-le"),
    ],
)
def test_other_encodings_are_refused_by_name(data: bytes) -> None:
    with pytest.raises(WrongShape, match="UTF-8"):
        read(data)


def test_a_byte_order_mark_is_skipped() -> None:
    for text in ("1", "{}", '{"a": 1}'):
        assert read(text.encode("utf-8-sig"), 1).text == text.encode()


@pytest.mark.parametrize(
    "data",
    [
        b'"abc',
        b'"abc\\',
        b'"' + b"a" * 100_000,
        b'"\\x aaaaaaaaaa"',
        b'"\\u12 aaaaaaaaaa"',
        b'"' + b"a" * 100_000 + b'\n"',
        b"[" * 1000,
        b'{"a":' * 1000,
    ],
)
def test_what_cannot_be_json(data: bytes) -> None:
    with pytest.raises(WrongShape, match="Invalid JSON"):
        read(data)


@pytest.mark.parametrize(
    "data",
    [
        b"[" + b"{}," * MAX_VALUES,
        b'["",' * 10 + b'"",' * MAX_VALUES,
        b"1" * (MAX_BYTES + 1),
        b"[" + b'"' + b"a" * 1000 + b'",' + (b'"' + b"a" * 1000 + b'",') * 1100,
    ],
)
def test_what_is_large_beside_images(data: bytes) -> None:
    with pytest.raises(TooLarge, match=r"JSON has more than \d+ "):
        read(data)


def test_blanks_cost_nothing() -> None:
    body = read(b" " * 5_000_000 + b"{}" + b"\n" * 5_000_000)
    assert json.loads(body.text) == {}
    assert len(body.text) < 1000
    assert not body.is_unchanged
    assert read(b'{\n  "a": 1\n}').is_unchanged
