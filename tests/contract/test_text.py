# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests the promises of docs/text.md under "Texts" and "What a vector was made with"."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import pytest
import requests

from app.models.tokens import MAX_CHARACTERS
from benchmarks.service import Service
from tests.contract import check
from tests.contract.test_embedding_client import QUEUE
from tests.services import PHOTO

PROVENANCE = ("X-Model-Revision", "X-Engine", "X-Precision", "X-Preprocess-Version")
IMAGE = base64.b64encode(PHOTO).decode()


def embed(base: str, **body: Any) -> requests.Response:
    return requests.post(f"{base}/embed-text", json=body, timeout=240)


def test_one_text(base: str) -> None:
    response = embed(base, text="A  photo of a &quot;Cat&quot;")
    body = check.json(response)
    assert body["dims"] == len(body["embedding"]) == 768
    assert (body["model"], body["provider"], body["weights"]) == ("ViT-L-14", "local", "random")
    assert (body["tokens"], body["truncated"]) == (9, False)
    assert np.linalg.norm(body["embedding"]) == pytest.approx(1, abs=1e-5)
    assert response.headers.items() >= QUEUE.items()
    same = check.json(embed(base, text='a photo of a "cat"'))
    assert same == body


def test_several_texts_with_bad_ones(base: str) -> None:
    texts = ["a red circle", "  ", "word " * 200, "x" * (MAX_CHARACTERS + 1)]
    body = check.json(embed(base, texts=texts, model="ViT-B-16", normalize=False))
    assert (body["model"], body["total"]) == ("ViT-B-16", 4)
    assert (body["succeeded"], body["failed"]) == (2, 2)
    first, blank, long, book = body["results"]
    assert [result["index"] for result in body["results"]] == list(range(4))
    assert (first["status"], first["dims"], first["truncated"]) == ("ok", 512, False)
    assert np.linalg.norm(first["embedding"]) != pytest.approx(1, abs=0.01)
    assert (long["status"], long["tokens"], long["truncated"]) == ("ok", 77, True)
    assert blank["error"] == "No text provided: The text is blank"
    assert "at most 4096 are accepted" in book["error"]
    alone = check.json(embed(base, text=texts[0], model="ViT-B-16", normalize=False))
    np.testing.assert_allclose(first["embedding"], alone["embedding"], atol=0.05)


def test_different_texts_have_different_vectors(service: Service) -> None:
    found = check.json(embed(service.url(""), texts=["a cat", "three boats at sea"]))["results"]
    one, other = (result["embedding"] for result in found)
    assert np.dot(one, other) < 0.99


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 400),
        ({"text": "a", "texts": ["b"]}, 400),
        ({"text": ""}, 400),
        ({"text": "&nbsp; \n"}, 400),
        ({"text": "a", "model": "small"}, 400),
        ({"text": "a", "model": "ViT-L-14:text"}, 400),
        ({"text": "x" * (MAX_CHARACTERS + 1)}, 413),
        ({"texts": ["a"] * 33}, 413),
        ({"text": 7}, 422),
        ({"texts": []}, 422),
        ({"texts": "a"}, 422),
        ({"texts": [None]}, 422),
    ],
)
def test_wrong_requests(service: Service, body: dict[str, Any], status: int) -> None:
    check.error(embed(service.url(""), **body), status)


def test_only_json(service: Service) -> None:
    check.error(service.post("/embed-text", data="a cat"), 415)
    check.error(service.post("/embed-text", data={"text": "a cat"}), 415)
    half = {"Content-Type": "application/json"}
    check.error(service.post("/embed-text", data=b'{"text": "\\ud800"}', headers=half), 422)


@pytest.mark.parametrize(
    ("path", "model", "options"),
    [
        ("/api/depth", "small", {"files": {"image": ("a.png", PHOTO)}}),
        ("/embed-image", "ViT-L-14", {"json": {"image_base64": IMAGE}}),
        ("/embed-batch", "ViT-B-16", {"json": {"items": [{}], "model": "ViT-B-16"}}),
        ("/embed-text", "ViT-L-14", {"json": {"text": "a cat"}}),
        (
            "/v1/embeddings",
            "ViT-L-14",
            {"json": {"input": ["a", f"data:image/png;base64,{IMAGE}"]}},
        ),
    ],
)
def test_every_answer_says_what_it_was_made_with(
    base: str, path: str, model: str, options: dict[str, Any]
) -> None:
    answer = requests.post(base + path, timeout=240, **options)
    assert answer.status_code == 200
    health = check.json(requests.get(f"{base}/health", timeout=240))
    state = next(each for each in health["models"] if each["name"] == model)
    assert [answer.headers[name] for name in PROVENANCE] == [
        state["revision"],
        state["engine"],
        state["precision"],
        str(state["preprocess_version"]),
    ]
    assert len(state["revision"]) == 40
    assert answer.headers["X-Model-Weights"] == "random"


def test_an_answer_that_no_model_made_says_nothing(service: Service) -> None:
    answer = service.post("/embed-image", json={"image_base64": IMAGE, "model": "none"})
    assert not set(PROVENANCE) & set(answer.headers)
