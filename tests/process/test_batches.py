# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests that queued requests for one model run as one batch, which changes only the speed."""

from __future__ import annotations

import base64

import numpy as np

from tests.contract import check
from tests.pictures import encoded, picture
from tests.process.conftest import LONG, Faulty


def different(number: int) -> bytes:
    """Make a picture that differs from those for other numbers."""
    return encoded(picture(40 + 3 * number, 60).rotate(11 * number))


def test_each_caller_gets_its_own_vector(faulty: Faulty) -> None:
    pictures = [different(number) for number in range(16)]
    alone = [faulty.ask(data=each).result().json()["embedding"] for each in pictures]
    before = len(faulty.inferences())
    faulty.plan("slow", LONG)
    asked = [faulty.ask(data=pictures[0])]
    faulty.wait_for(lambda: len(faulty.inferences()) == before + 1)
    asked += [faulty.ask(data=each) for each in pictures[1:]]
    faulty.wait_for_queue(1, 15)
    faulty.heal("slow")
    together = [each.result().json()["embedding"] for each in asked]
    sizes = [images for _, _, images in faulty.inferences()[before:]]
    assert sizes[0] == 1
    assert sum(sizes) == 16
    assert 1 < max(sizes) <= 8, "bounded, but more than one"
    similarity = np.asarray(alone) @ np.asarray(together).T
    assert (similarity.argmax(axis=1) == np.arange(16)).all()
    assert np.diag(similarity).min() > 0.99999


def test_a_bad_one_among_them_fails_alone(faulty: Faulty) -> None:
    faulty.plan("slow", LONG)
    first = faulty.ask(data=different(0))
    faulty.wait_for_queue(1, 0)
    good, bad = faulty.ask(data=different(1)), faulty.ask(data=b"\x89PNG, but broken")
    other = faulty.ask(data=different(2))
    faulty.heal("slow")
    check.error(bad.result(), 400)
    assert [each.result().status_code for each in (first, good, other)] == [200] * 3


def test_a_batch_of_the_api_takes_the_same_path(faulty: Faulty) -> None:
    items = [{"image_base64": base64.b64encode(different(n)).decode()} for n in range(11)]
    items[4] = {"image_base64": base64.b64encode(b"no image").decode()}
    before = len(faulty.inferences())
    body = check.json(faulty.service.post("/embed-batch", json={"items": items}))
    assert (body["succeeded"], body["failed"]) == (10, 1)
    assert [images for _, _, images in faulty.inferences()[before:]] == [8, 2]
    for number in (0, 3, 5, 10):
        alone = faulty.ask(data=different(number)).result().json()["embedding"]
        assert float(np.dot(alone, body["results"][number]["embedding"])) > 0.99999
