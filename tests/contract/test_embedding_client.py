# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests docs/contracts.md under "Embedding", with requests as Classifarr and curl send them."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import pytest
import requests

from benchmarks.service import Service
from tests.contract import check
from tests.pictures import encoded, picture
from tests.services import PHOTO

TEXT = base64.b64encode(PHOTO).decode()
QUEUE = {
    "X-Queue-Concurrency": "1",
    "X-Queue-In-Flight": "0",
    "X-Queue-Waiting": "0",
    "X-Queue-Max-Queue": "100",
    "X-Queue-Max-Wait-Seconds": "60",
}


def embed(base: str, **body: Any) -> requests.Response:
    return requests.post(f"{base}/embed-image", json={"image_base64": TEXT, **body}, timeout=240)


def test_health(base: str) -> None:
    health = check.json(requests.get(f"{base}/health", timeout=240))
    assert health["status"] in ("ok", "healthy")
    expected = {
        "service": "ai",
        "model": "Depth-Anything-V2",
        "model_status": "loaded",
        "provider": "local",
        "default_model": "ViT-L-14",
        "device": {"type": "cpu", "name": "CPU"},
        "workers": 1,
    }
    assert health | expected == health
    assert {"name", "loaded"} <= set(health["models"][0])
    assert health["memory"]["process_rss_mb"] > 0
    assert {"allocated_mb", "reserved_mb"} <= set(health["memory"])
    assert health["queue"] == {
        "concurrency": 1,
        "in_flight": 0,
        "waiting": 0,
        "max_queue": 100,
        "max_wait_seconds": 60,
    }
    assert health["version"]


def test_ready(base: str) -> None:
    ready = check.json(requests.get(f"{base}/ready", timeout=240))
    assert ready["ready"] is True
    assert ready["default_model_loaded"] is True
    assert ready["device"]["type"] == "cpu"
    assert {each["name"] for each in ready["models"]} >= {"small", "ViT-L-14"}


def test_connection_counts_models_and_finds_dims(base: str) -> None:
    models = check.json(requests.get(f"{base}/models", timeout=240))["models"]
    found = {model["id"]: (model["name"], model["dims"], model["image_size"]) for model in models}
    assert list(found)[:2] == ["ViT-L-14", "ViT-B-16"]
    assert found["ViT-L-14"] == ("ViT-L-14", 768, 224)
    assert found["ViT-B-16"] == ("ViT-B-16", 512, 224)
    assert found["siglip2-b16-256"] == ("siglip2-b16-256", 768, 256)
    assert found["builtin-clip"] == ("builtin-clip", 128, 128)


def test_the_body_that_the_client_sends_by_default(base: str) -> None:
    response = embed(base, model="ViT-B-16", normalize=True, image_size=512)
    body = check.json(response)
    assert body["dims"] == len(body["embedding"]) == 512
    assert (body["model"], body["provider"], body["image_size"]) == ("ViT-B-16", "local", 512)
    assert np.linalg.norm(body["embedding"]) == pytest.approx(1, abs=1e-5)
    assert response.headers.items() >= QUEUE.items()


def test_defaults(base: str) -> None:
    body = check.json(embed(base))
    assert (body["model"], body["dims"], body["image_size"]) == ("ViT-L-14", 768, 224)


def test_data_uri_and_multipart_give_the_same_vector(base: str) -> None:
    expected = check.json(embed(base, image_size=300))
    uri = requests.post(
        f"{base}/embed-image",
        json={"image_base64": f"data:image/png;base64,{TEXT}", "image_size": 300},
        timeout=240,
    )
    form = requests.post(
        f"{base}/embed-image",
        files={"image": ("a.png", PHOTO)},
        data={"image_size": "300", "normalize": "true", "model": "ViT-L-14"},
        timeout=240,
    )
    assert check.json(uri) == check.json(form) == expected


def test_not_normalised(base: str) -> None:
    vector = check.json(embed(base, normalize=False))["embedding"]
    unit = check.json(embed(base))["embedding"]
    assert np.linalg.norm(vector) != pytest.approx(1, abs=0.01)
    assert np.array(vector) @ unit / np.linalg.norm(vector) == pytest.approx(1, abs=1e-5)


def test_different_pictures_have_different_vectors(service: Service) -> None:
    other = base64.b64encode(encoded(picture(320, 240, 9))).decode()
    one, two = (check.json(embed(service.url(""), image_base64=t)) for t in (TEXT, other))
    assert np.dot(one["embedding"], two["embedding"]) < 0.99


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"image_url": "http://example.org/a.jpg"}, 400),  # an image and its URL together
        ({"image_base64": None}, 400),  # no image
        ({"image_base64": None, "image_url": "http://example.org/a.jpg"}, 400),  # URLs are disabled
        ({"image_base64": "!"}, 400),
        ({"image_base64": base64.b64encode(b"no image").decode()}, 400),
        ({"model": "ViT-H-14"}, 400),
        ({"image_size": 0}, 422),
        ({"image_size": 4097}, 422),
        ({"image_size": "big"}, 422),
        ({"normalize": "perhaps"}, 422),
        ({"model": 7}, 422),
    ],
)
def test_wrong_requests(service: Service, body: dict[str, Any], status: int) -> None:
    message = check.error(embed(service.url(""), **body), status)
    if status == 422:
        assert next(iter(body)) in message


def test_an_image_above_the_budget_names_it(service: Service) -> None:
    files = {"image": ("a.png", bytes(10485761))}
    message = check.error(service.post("/embed-image", files=files), 413)
    assert "10485761" in message
    assert "10485760" in message


def test_a_batch_in_order_with_a_bad_item(base: str) -> None:
    good = [base64.b64encode(encoded(picture(64, 64, seed))).decode() for seed in (1, 2)]
    items = [
        {"image_base64": good[0]},
        {"image_base64": base64.b64encode(b"no image").decode()},
        {"image_base64": good[1]},
        {"image_base64": "!!"},
        {},
    ]
    options = {"model": "ViT-B-16", "normalize": True, "image_size": 512}
    response = requests.post(f"{base}/embed-batch", json={"items": items, **options}, timeout=240)
    body = check.json(response)
    assert (body["model"], body["image_size"]) == ("ViT-B-16", 512)
    assert (body["total"], body["succeeded"], body["failed"]) == (5, 2, 3)
    assert [result["index"] for result in body["results"]] == list(range(5))
    assert [result["status"] for result in body["results"]] == [
        "ok",
        "error",
        "ok",
        "error",
        "error",
    ]
    for result, text in ((body["results"][0], good[0]), (body["results"][2], good[1])):
        alone = check.json(embed(base, image_base64=text, model="ViT-B-16", image_size=512))
        assert (result["dims"], result["model"], result["image_size"]) == (512, "ViT-B-16", 512)
        np.testing.assert_allclose(result["embedding"], alone["embedding"], atol=1e-5)
    assert all(result["error"] for result in body["results"] if result["status"] == "error")
    assert response.headers.items() >= QUEUE.items()


def test_batches_that_are_wrong_as_a_whole(service: Service) -> None:
    item = {"image_base64": TEXT}
    message = check.error(service.post("/embed-batch", json={"items": [item] * 33}), 413)
    assert "33" in message
    assert "32" in message
    check.error(service.post("/embed-batch", json={"items": []}), 422)
    check.error(service.post("/embed-batch", json={"items": ["x"]}), 422)
    wrong = {"items": [item], "model": "ViT-H-14"}
    check.error(service.post("/embed-batch", json=wrong), 400, "Unknown model")


def test_clean_up(base: str) -> None:
    body = check.json(requests.post(f"{base}/admin/cleanup", timeout=240))
    assert set(body) == {
        "gc_collected",
        "gpu_freed_mb",
        "process_rss_mb",
        "gpu_allocated_mb",
        "gpu_reserved_mb",
    }
    assert body["process_rss_mb"] > 0


@pytest.mark.parametrize(
    ("path", "body"), [("/embed-image", {"image_base64": TEXT}), ("/embed-text", {"text": "a cat"})]
)
def test_a_model_that_is_not_on_disk_says_why(base: str, path: str, body: dict[str, str]) -> None:
    asked = {"model": "siglip2-b16-224", **body}
    refused = requests.post(f"{base}{path}", json=asked, timeout=240)
    message = check.error(refused, 503, "Model not available")
    reason = refused.json()["reason"]
    assert message == f"siglip2-b16-224: {reason}"
    assert reason.startswith("its weights are not on disk and cannot be downloaded: HF_HUB_OFFLINE")
    assert "`python -m app download siglip2-b16-224 --output DIR` on another machine" in reason
    # HF_HUB_OFFLINE is set: no client need wait for weights that will not come.
    assert "Retry-After" not in refused.headers
    assert refused.json()["code"] == "model_not_on_disk"
