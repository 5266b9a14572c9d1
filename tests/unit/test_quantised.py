# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests vectors in fewer bytes."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from app.tasks.quantised import Kind, as_base64, quantised


def unit_vectors(count: int, dims: int) -> NDArray[np.float32]:
    found = np.random.default_rng(7).normal(size=(count, dims)).astype(np.float32)
    return np.asarray(found / np.linalg.norm(found, axis=1, keepdims=True), np.float32)


def cosine(one: NDArray[Any], other: NDArray[Any]) -> float:
    one, other = one.astype(np.float64), other.astype(np.float64)
    return float(one @ other / np.linalg.norm(one) / np.linalg.norm(other))


@pytest.mark.parametrize(("kind", "error"), [("float32", 0), ("float16", 1e-3), ("int8", 5e-3)])
def test_cosines_stay(kind: Kind, error: float) -> None:
    one, other = unit_vectors(2, 512)
    other = (one + other).astype(np.float32)
    before = cosine(one, other)
    assert abs(cosine(quantised(one, kind), quantised(other, kind)) - before) <= error


def test_bytes_use_the_whole_range_whatever_the_length_of_the_vector() -> None:
    vector = np.array([0.5, -1, 0.25, 0], np.float32)
    for scale in (1, 1e-6, 1e30):
        found = quantised((vector * np.float32(scale)).astype(np.float32), "int8")
        assert found.dtype == np.int8
        assert found.tolist() == [64, -127, 32, 0]
    unsigned = quantised(vector, "uint8")
    assert unsigned.dtype == np.uint8
    assert unsigned.tolist() == [192, 1, 160, 128]


def test_bits() -> None:
    vector = np.array([1, -1, 0, 2, -2, -3, -1, 5, 1], np.float32)
    unsigned = quantised(vector, "ubinary")
    assert unsigned.dtype == np.uint8
    assert unsigned.tolist() == [0b10010001, 0b10000000]
    signed = quantised(vector, "binary")
    assert signed.dtype == np.int8
    assert signed.tolist() == [0b10010001 - 128, 0]


def test_halves_have_no_infinities() -> None:
    found = quantised(np.array([1e9, -1e9, 1 / 3], np.float32), "float16")
    assert np.isfinite(found).all()
    assert found[2] == np.float16(1 / 3)


def test_base64_is_of_little_endian_numbers() -> None:
    text = as_base64(quantised(np.array([1, -2], np.float32), "float32"))
    assert base64.b64decode(text) == b"\x00\x00\x80\x3f\x00\x00\x00\xc0"
