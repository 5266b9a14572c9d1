# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests that an image which was just embedded is not computed again, and what is never kept."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.service import Service
from tests.pictures import encoded, picture
from tests.scrape import Scrape

PHOTOS = [encoded(picture(60 + number, 50)) for number in range(6)]
BROKEN = PHOTOS[0][:60]


@pytest.fixture(scope="module")
def service(built_in: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    service = Service(
        tmp_path_factory.mktemp("cache") / "log",
        HF_HUB_CACHE=built_in,
        HF_HUB_OFFLINE=1,
        ENABLED_FAMILIES="embedding",
        DEFAULT_MODEL="builtin-clip",
        EMBED_CACHE_SIZE=3,
    )
    with service.started():
        service.wait_until_ready()
        yield service


def embed(service: Service, photo: bytes, **options: Any) -> Any:
    return service.post("/embed-image", files={"image": ("a.png", photo)}, data=options)


def figures(service: Service) -> dict[str, int]:
    found: dict[str, int] = service.get("/health").json()["cache"]
    return found


def scrape(service: Service) -> Scrape:
    return Scrape(service.get("/metrics").text)


def computed(service: Service) -> float:
    return scrape(service).total("twinlens_batch_size_sum")


def test_the_same_image_is_computed_once(service: Service) -> None:
    first = embed(service, PHOTOS[0])
    before, passes = figures(service), computed(service)
    second = embed(service, PHOTOS[0])
    assert second.status_code == 200
    assert second.json() == first.json()
    for name in ("X-Precision", "X-Engine", "X-Model-Revision", "X-Model-Weights"):
        assert second.headers[name] == first.headers[name]
    assert "infer;dur=0.0" in second.headers["Server-Timing"]
    assert figures(service) == before | {"hits": before["hits"] + 1}
    assert computed(service) == passes
    found = scrape(service)
    assert found.total("twinlens_embed_cache_images_total", result="hit") == before["hits"] + 1
    assert found.total("twinlens_embed_cache_vectors") == before["size"]


@pytest.mark.parametrize("options", [{"normalize": "false"}, {"image_size": 64}])
def test_another_question_is_computed(service: Service, options: dict[str, Any]) -> None:
    embed(service, PHOTOS[1])
    before = computed(service)
    expected = embed(service, PHOTOS[1], **options).json()
    assert computed(service) == before + 1
    assert embed(service, PHOTOS[1], **options).json() == expected


def test_errors_are_not_kept(service: Service) -> None:
    before = figures(service)
    answers = [embed(service, BROKEN) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [400, 400]
    after = figures(service)
    assert (after["hits"], after["size"]) == (before["hits"], before["size"])


def test_a_batch_computes_only_what_is_new(service: Service) -> None:
    known = embed(service, PHOTOS[2]).json()["embedding"]
    before = computed(service)
    files = (PHOTOS[3], PHOTOS[2], BROKEN, PHOTOS[2], PHOTOS[4])
    items = [{"image_base64": base64.b64encode(file).decode()} for file in files]
    results = service.post("/embed-batch", json={"items": items}).json()["results"]
    assert [result["status"] for result in results] == ["ok", "ok", "error", "ok", "ok"]
    assert results[1]["embedding"] == results[3]["embedding"] == known
    assert results[0]["embedding"] != results[4]["embedding"]
    assert computed(service) == before + 2
    again = service.post("/embed-batch", json={"items": items[:2]}).json()["results"]
    assert again == results[:2]
    assert computed(service) == before + 2


def test_the_oldest_are_dropped(service: Service) -> None:
    for photo in PHOTOS:
        embed(service, photo)
    assert figures(service)["size"] == 3
    before = computed(service)
    embed(service, PHOTOS[0])
    assert computed(service) == before + 1
    embed(service, PHOTOS[-1])
    assert computed(service) == before + 1
