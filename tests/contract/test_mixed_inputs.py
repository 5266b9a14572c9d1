# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests texts and images in one request, in the shapes of Jina, Cohere and infinity."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import pytest

from benchmarks.service import Service
from tests.contract import check
from tests.pictures import encoded, picture
from tests.services import PHOTO

IMAGE = base64.b64encode(PHOTO).decode()
OTHER = base64.b64encode(encoded(picture(64, 48, 9))).decode()
URI = f"data:image/png;base64,{OTHER}"
LONG = "a photo of " + "many " * 200 + "cats"
URL = "https://example.org/a.jpg"


def of_text(service: Service, text: str) -> Any:
    return check.json(service.post("/embed-text", json={"text": text}))["embedding"]


def of_image(service: Service, image: str) -> Any:
    return check.json(service.post("/embed-image", json={"image_base64": image}))["embedding"]


@pytest.fixture(scope="module")
def expected(service: Service) -> Any:
    """Return the vectors of: a text, an image, another text, another image."""
    texts = [of_text(service, text) for text in ("a cat", LONG)]
    images = [of_image(service, image) for image in (IMAGE, OTHER)]
    return np.array([texts[0], images[0], texts[1], images[1]])


def agree(found: Any, expected: Any) -> bool:
    """Return whether each vector is nearest to the expected one of its place, and nearly equal."""
    found = np.asarray(found, np.float64)
    table = found @ expected.T / np.linalg.norm(found, axis=1)[:, None]
    return bool((table.diagonal() > 0.999).all() and (table.argmax(1) == range(len(table))).all())


def jina(*items: object, **more: Any) -> dict[str, Any]:
    return {"json": {"model": "ViT-L-14", "input": [*items], **more}}


def test_jina(service: Service, expected: Any) -> None:
    items = [{"text": "a cat"}, {"image": IMAGE}, {"text": LONG}, {"image": URI}]
    body = check.json(service.post("/v1/embeddings", **jina(*items, normalized=True)))
    assert [each["index"] for each in body["data"]] == [0, 1, 2, 3]
    assert agree([each["embedding"] for each in body["data"]], expected)
    assert body["usage"]["total_tokens"] == 4 + 77
    mixed = service.post("/v1/embeddings", **jina("a cat", {"image": IMAGE}, LONG, URI))
    assert check.json(mixed)["data"] == body["data"]
    one = service.post("/v1/embeddings", json={"input": {"image": IMAGE}})
    assert agree([check.json(one)["data"][0]["embedding"]], expected[1:2])


def test_jinas_encoding(service: Service, expected: Any) -> None:
    answer = service.post("/v1/embeddings", **jina({"image": IMAGE}, embedding_type="base64"))
    text = check.json(answer)["data"][0]["embedding"]
    assert agree([np.frombuffer(base64.b64decode(text), "<f4")], expected[1:2])
    both = {}
    for kind in ("binary", "ubinary"):
        answer = service.post("/v1/embeddings", **jina({"image": IMAGE}, embedding_type=kind))
        both[kind] = np.array(check.json(answer)["data"][0]["embedding"])
    assert (np.unpackbits(both["ubinary"].astype(np.uint8)) == (expected[1] > 0)).all()
    assert (both["binary"] + 128 == both["ubinary"]).all()


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (jina({"text": "a cat"}, {"image": "!"}), "input[1]: image_base64 is not base64"),
        (jina({"text": "a cat"}, {"image": URL}), "input[1]: Remote image URLs are turned off"),
        (jina({"text": "a cat", "image": IMAGE}), "input[0]: give exactly one of text and image"),
        (jina("a cat", {"video": "x"}), "input[1]: give exactly one of text and image"),
        (jina({"text": " "}), "input[0]: The text is blank"),
        (jina({"text": "a"}, normalized=False), "normalized"),
        (jina({"text": "a"}, late_chunking=True), "late_chunking"),
        (jina({"text": "a"}, embedding_type="base64", encoding_format="float"), "not both"),
        (jina("a", 7), "input.1"),
        (jina({"text": "a"}, modality="image"), "has text, but modality is image"),
    ],
)
def test_what_jinas_shape_refuses(service: Service, request_: dict[str, Any], message: str) -> None:
    answer = service.post("/v1/embeddings", **request_)
    assert answer.status_code == 400
    assert message in answer.json()["error"]["message"]


def test_infinitys_modality(service: Service, expected: Any) -> None:
    body = {"model": "ViT-L-14", "input": [IMAGE, URI], "modality": "image"}
    data = check.json(service.post("/v1/embeddings", json=body))["data"]
    assert agree([each["embedding"] for each in data], expected[[1, 3]])
    one = check.json(service.post("/v1/embeddings", json=body | {"input": URI}))["data"]
    assert one[0]["embedding"] == pytest.approx(data[1]["embedding"], abs=1e-5)


def cohere(**body: Any) -> dict[str, Any]:
    return {"json": {"model": "ViT-L-14", "input_type": "search_document", **body}}


def text_part(text: str) -> dict[str, Any]:
    return {"content": [{"type": "text", "text": text}]}


def image_part(url: str) -> dict[str, Any]:
    return {"content": [{"type": "image_url", "image_url": {"url": url}}]}


INPUTS = [text_part("a cat"), image_part(IMAGE), text_part(LONG), image_part(URI)]


def test_cohere(service: Service, expected: Any) -> None:
    body = check.json(service.post("/v2/embed", **cohere(inputs=INPUTS)))
    assert list(body["embeddings"]) == ["float"]
    assert agree(body["embeddings"]["float"], expected)
    assert body["response_type"] == "embeddings_by_type"
    assert body["meta"]["billed_units"] == {"input_tokens": 81, "images": 2}
    texts = check.json(service.post("/v2/embed", **cohere(texts=["a cat", LONG])))
    assert agree(texts["embeddings"]["float"], expected[[0, 2]])
    assert texts["texts"] == ["a cat", LONG]
    images = check.json(
        service.post("/v2/embed", **cohere(images=[f"data:image/png;base64,{IMAGE}"]))
    )
    assert agree(images["embeddings"]["float"], expected[1:2])


def test_coheres_types(service: Service, expected: Any) -> None:
    types = ["float", "int8", "uint8", "binary", "ubinary", "base64"]
    found = check.json(service.post("/v2/embed", **cohere(inputs=INPUTS, embedding_types=types)))
    found = found["embeddings"]
    assert list(found) == types
    assert agree(found["int8"], expected)
    assert agree(np.array(found["uint8"]) - 128, expected)
    decoded = [np.frombuffer(base64.b64decode(each), "<f4") for each in found["base64"]]
    np.testing.assert_allclose(decoded, found["float"], atol=1e-7)
    bits = np.unpackbits(np.array(found["ubinary"], np.uint8), axis=1)
    assert (bits == (np.array(found["float"]) > 0)).all()
    assert (np.array(found["binary"]) + 128 == found["ubinary"]).all()


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        ({}, 400, "exactly one of texts, images and inputs"),
        ({"texts": ["a"], "images": [IMAGE]}, 400, "exactly one of texts, images and inputs"),
        ({"texts": ["a", ""]}, 400, "texts[1]: The text is blank"),
        ({"images": [IMAGE, "data:image/png;base64,!"]}, 400, "images[1]: "),
        ({"images": [URL]}, 400, "images[0]: Remote image URLs are turned off"),
        ({"inputs": [INPUTS[0], image_part("aGk=")]}, 400, "inputs[1]: "),
        ({"inputs": [{"content": [{"type": "text"}]}]}, 400, "inputs[0]: a part of type text"),
        (
            {"inputs": [{"content": INPUTS[0]["content"] + INPUTS[1]["content"]}]},
            400,
            "inputs[0]: it has 2 parts",
        ),
        ({"inputs": [{"content": [{"type": "audio"}]}]}, 422, "inputs.0.content.0.type"),
        ({"texts": ["a"], "embedding_types": ["int4"]}, 422, "embedding_types"),
        ({"texts": ["a"], "output_dimension": 256}, 400, "have 768 dimensions"),
        ({"texts": ["a"], "max_tokens": 5}, 400, "max_tokens"),
        ({"texts": ["a"], "truncate": "START"}, 400, "START"),
        (
            {"texts": ["a", LONG], "truncate": "NONE"},
            413,
            "texts[1]: the text has more than the 77",
        ),
        ({"texts": ["a"] * 33}, 413, "EMBED_BATCH_API_MAX_ITEMS"),
        ({"texts": ["a"], "model": "embed-v4.0"}, 400, "Unknown model"),
    ],
)
def test_what_cohere_refuses(
    service: Service, body: dict[str, Any], status: int, message: str
) -> None:
    assert message in check.error(service.post("/v2/embed", **cohere(**body)), status)


def test_similarity(service: Service, expected: Any) -> None:
    inputs = [{"text": "a cat"}, {"image_base64": IMAGE}]
    others = [{"text": LONG}, {"image_base64": URI}, {"text": "a cat"}]
    answer = service.post("/similarity", json={"inputs": inputs, "others": others})
    body = check.json(answer)
    assert body["model"] == "ViT-L-14"
    np.testing.assert_allclose(
        body["similarities"], expected[:2] @ expected[[2, 3, 0]].T, atol=1e-3
    )
    assert answer.headers["X-Queue-Concurrency"] == "1"
    square = check.json(service.post("/similarity", json={"inputs": inputs}))["similarities"]
    np.testing.assert_allclose(np.diagonal(square), 1, atol=1e-5)
    assert square[0][1] == pytest.approx(square[1][0], abs=1e-6)


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        ({"inputs": [{"text": "a"}, {}]}, 400, "inputs[1]: give exactly one"),
        ({"inputs": [{"text": "a", "image_base64": IMAGE}]}, 400, "inputs[0]: give exactly one"),
        ({"inputs": [{"text": "a"}], "others": [{"text": "a"}, {"text": " "}]}, 400, "others[1]: "),
        ({"inputs": [{"image_url": URL}]}, 400, "inputs[0]: Remote image URLs are turned off"),
        ({"inputs": []}, 422, "inputs"),
        ({"inputs": [{"text": "a"}], "normalize": True}, 422, "normalize"),
        ({"inputs": [{"text": "a"}] * 20, "others": [{"text": "a"}] * 20}, 413, "40 items"),
    ],
)
def test_what_similarity_refuses(
    service: Service, body: dict[str, Any], status: int, message: str
) -> None:
    assert message in check.error(service.post("/similarity", json=body), status)
