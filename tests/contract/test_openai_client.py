# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests what docs/text.md says under "OpenAI's clients", with the package ``openai``."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import openai
import pytest

from benchmarks.service import Service
from config.settings import Settings
from tests.contract import check
from tests.pictures import encoded, picture
from tests.services import PHOTO

IMAGE = base64.b64encode(PHOTO).decode()
URI = f"data:image/png;base64,{IMAGE}"


def client_of(service: Service, key: str = "none") -> openai.OpenAI:
    return openai.OpenAI(base_url=service.url("/v1"), api_key=key, max_retries=0, timeout=240)


@pytest.fixture
def client(service: Service) -> Iterator[openai.OpenAI]:
    with client_of(service) as opened:
        yield opened


def vector_of_text(service: Service, text: str, **options: Any) -> Any:
    answer = service.post("/embed-text", json={"text": text, **options})
    return check.json(answer)["embedding"]


def vector_of_image(service: Service, data: str) -> Any:
    answer = service.post("/embed-image", json={"image_base64": data})
    return check.json(answer)["embedding"]


def same(answer: Any, expected: Any) -> bool:
    """Return whether two vectors are equal to the last bit of a float32.

    They are rounded to float32 first, because numbers decoded from base64 have more digits.
    """
    return bool(np.array_equal(np.float32(answer.data[0].embedding), np.float32(expected)))


def test_a_text(service: Service, client: openai.OpenAI) -> None:
    expected = vector_of_text(service, "a photo of a cat")
    plain = client.embeddings.create(
        model="ViT-L-14", input="a photo of a cat", encoding_format="float", user="somebody"
    )
    assert (plain.object, plain.model) == ("list", "ViT-L-14")
    assert (plain.data[0].object, plain.data[0].index) == ("embedding", 0)
    assert same(plain, expected)
    assert plain.usage.prompt_tokens == plain.usage.total_tokens == 7
    # If no encoding_format is given, the client asks for base64.
    packed = client.embeddings.create(model="ViT-L-14", input="a photo of a cat")
    assert same(packed, expected)
    sized = client.embeddings.create(model="ViT-L-14", input="a photo of a cat", dimensions=768)
    assert same(sized, expected)


def test_base64_is_float32_little_endian(service: Service) -> None:
    body = {"input": "a cat", "encoding_format": "base64"}
    (found,) = check.json(service.post("/v1/embeddings", json=body))["data"]
    numbers = np.frombuffer(base64.b64decode(found["embedding"]), "<f4")
    np.testing.assert_array_equal(numbers, np.float32(vector_of_text(service, "a cat")))


def test_texts_and_images_in_order(service: Service, client: openai.OpenAI) -> None:
    other = base64.b64encode(encoded(picture(64, 48, 9))).decode()
    mixed = ["a cat", URI, "https://example.org/a.jpg", f"DATA:image/png;base64,{other}"]
    found = client.embeddings.create(model="ViT-L-14", input=mixed)
    assert [each.index for each in found.data] == [0, 1, 2, 3]
    expected = [
        vector_of_text(service, mixed[0]),
        vector_of_image(service, IMAGE),
        vector_of_text(service, mixed[2]),  # a web address is embedded as a text
        vector_of_image(service, other),
    ]
    for each, vector in zip(found.data, expected, strict=True):
        assert np.dot(each.embedding, vector) > 0.9999


def test_modality(service: Service, client: openai.OpenAI) -> None:
    image = client.embeddings.create(
        model="ViT-L-14", input=[IMAGE, URI], extra_body={"modality": "image"}
    )
    expected = vector_of_image(service, IMAGE)
    assert all(np.dot(each.embedding, expected) > 0.9999 for each in image.data)
    assert image.usage.total_tokens == 0
    head = URI[:100]
    text = client.embeddings.create(model="ViT-B-16", input=head, extra_body={"modality": "text"})
    assert same(text, vector_of_text(service, head, model="ViT-B-16"))


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"input": [320, 1125]}, "input"),
        ({"input": [[320], [1125]]}, "input"),
        ({"input": []}, "input"),
        ({"input": ["a cat", " "]}, "input"),
        ({"input": ["a cat", "data:image/png;base64,!"]}, "input"),
        ({"input": ["a cat", "data:image/png;base64,AAAA"]}, "input"),
        ({"input": "https://example.org/a.jpg", "extra_body": {"modality": "image"}}, "input"),
        ({"input": "a cat", "dimensions": 256}, "dimensions"),
        ({"input": "a cat", "encoding_format": "hex"}, "encoding_format"),
    ],
)
def test_wrong_requests(client: openai.OpenAI, body: dict[str, Any], param: str) -> None:
    with pytest.raises(openai.BadRequestError) as error:
        client.embeddings.create(model="ViT-L-14", **body)
    assert (error.value.type, error.value.param) == ("invalid_request_error", param)
    assert error.value.status_code == 400


def test_a_bad_item_is_named(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match=r"input\[1\]: The text is blank"):
        client.embeddings.create(model="ViT-L-14", input=["a cat", " "])


def test_an_unknown_model(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="known: ViT-L-14, ViT-B-16") as error:
        client.embeddings.create(model="text-embedding-3-small", input="a cat")
    assert (error.value.code, error.value.param) == ("model_not_found", "model")


def test_models(client: openai.OpenAI) -> None:
    known = [model.id for model in client.models.list()]
    assert known == Settings().table().keys("embedding")
    assert known[:2] == ["ViT-L-14", "ViT-B-16"]


def test_too_many_and_what_the_framework_says(service: Service, client: openai.OpenAI) -> None:
    with pytest.raises(openai.APIStatusError) as error:
        client.embeddings.create(model="ViT-L-14", input=["a"] * 33)
    assert error.value.status_code == 413
    assert "EMBED_BATCH_API_MAX_ITEMS" in error.value.message
    for answer in (service.get("/v1/embeddings"), service.get("/v1/nothing")):
        assert set(answer.json()) == {"error", "code"}
        assert answer.json()["error"]["type"] == "invalid_request_error"


def test_with_a_key_and_no_model(start: Callable[..., Service], hub: Any) -> None:
    service = start(
        HF_HUB_CACHE=hub,
        SERVICE_API_KEY="s3cret",
        ENABLED_FAMILIES="embedding",
        DEFAULT_MODEL="ViT-B-16",
    )
    with client_of(service) as stranger, pytest.raises(openai.AuthenticationError) as error:
        stranger.embeddings.create(model="ViT-B-16", input="a cat")
    assert error.value.code == "invalid_api_key"
    with client_of(service, "s3cret") as friend:
        assert len(friend.embeddings.create(model="ViT-B-16", input="a cat").data) == 1


def test_weights_that_are_missing(start: Callable[..., Service], tmp_path: Any) -> None:
    service = start(ready=False, HF_HUB_CACHE=tmp_path, WARMUP_ON_STARTUP="false")
    with client_of(service) as client, pytest.raises(openai.InternalServerError) as error:
        client.embeddings.create(model="ViT-B-16", input="a cat")
    assert (error.value.status_code, error.value.code) == (503, "service_unavailable")
    assert error.value.type == "server_error"
    # HF_HUB_OFFLINE is set, so waiting would not help.
    assert "Retry-After" not in error.value.response.headers
    assert error.value.response.json()["code"] == "model_not_on_disk"
    assert "HF_HUB_OFFLINE" in error.value.body["reason"]
