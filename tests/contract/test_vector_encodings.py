# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests ``encoding_format`` on every route that answers vectors."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.service import Service
from tests.contract import check
from tests.services import PHOTO

IMAGE = base64.b64encode(PHOTO).decode()
TEXT = "a photo of a cat"
#: of a vector of 768 numbers
BYTES = {"base64": 3072, "float16": 1536, "int8": 768, "binary": 96}


def embedded(service: Service, path: str, **options: Any) -> Any:
    """Return the ``embedding`` of the first item of an answer."""
    bodies: dict[str, dict[str, Any]] = {
        "/embed-image": {"image_base64": IMAGE},
        "/embed-batch": {"items": [{"image_base64": IMAGE}]},
        "/embed-text": {"text": TEXT},
        "/v1/embeddings": {"input": TEXT},
    }
    answer = check.json(service.post(path, json=bodies[path] | options))
    first = (answer.get("results") or answer.get("data") or [answer])[0]
    assert first.get("dims", 768) == 768
    return first["embedding"]


def decoded(text: str, encoding: str) -> NDArray[Any]:
    """Decode a vector as docs/api.md says."""
    data = base64.b64decode(text)
    assert len(data) == BYTES[encoding]
    if encoding == "binary":
        return np.unpackbits(np.frombuffer(data, np.uint8)).astype(np.float32) * 2 - 1
    kinds = {"base64": "<f4", "float16": "<f2", "int8": "i1"}
    return np.frombuffer(data, kinds[encoding]).astype(np.float32)


@pytest.mark.parametrize("path", ["/embed-image", "/embed-batch", "/embed-text", "/v1/embeddings"])
def test_every_encoding(service: Service, path: str) -> None:
    plain = np.float32(embedded(service, path))
    assert np.array_equal(np.float32(embedded(service, path, encoding_format=None)), plain)
    for encoding, least in (("base64", 1.0), ("float16", 0.999999), ("int8", 0.999)):
        other = decoded(embedded(service, path, encoding_format=encoding), encoding)
        cosine = plain @ other / np.linalg.norm(plain) / np.linalg.norm(other)
        assert cosine >= least - 1e-6, encoding
    bits = decoded(embedded(service, path, encoding_format="binary"), "binary")
    assert np.array_equal(bits > 0, plain > 0)


def test_a_form_takes_it_too(service: Service) -> None:
    answer = service.post(
        "/embed-image", files={"image": ("a.png", PHOTO)}, data={"encoding_format": "int8"}
    )
    assert len(base64.b64decode(check.json(answer)["embedding"])) == 768


def test_what_has_no_meaning_is_refused(service: Service) -> None:
    body = {"text": TEXT, "normalize": False}
    for encoding in ("int8", "binary"):
        answer = service.post("/embed-text", json=body | {"encoding_format": encoding})
        assert "normalize=false" in check.error(answer, 422)
    answer = service.post("/embed-text", json=body | {"encoding_format": "int4"})
    assert "encoding_format" in check.error(answer, 422)
