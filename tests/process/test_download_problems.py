# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests ``python -m app download`` when the hub, the network or the disk fails."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fake_hub import FakeHub
from tests.process.caches import LOCK, download, environ, publish, start, weights_of

WEIGHTS = bytes(range(256)) * 1000


@pytest.fixture
def fake_hub(tmp_path: Path) -> Iterator[FakeHub]:
    publish(tmp_path / "published", WEIGHTS)
    with FakeHub(tmp_path / "published").running() as running:
        yield running


@pytest.mark.parametrize(
    ("answer", "reason", "advice"),
    [
        ((401, "RepoNotFound"), "does not know this repository", "set HF_TOKEN"),
        ((403, "GatedRepo"), "wants a login for this repository", "ask for access on the page"),
        ((401, ""), "the hub answered 401", "HF_TOKEN is not valid"),
        ((404, "EntryNotFound"), "lacks a file", "check hub_id and revision"),
        ((404, "RevisionNotFound"), "has no revision main", "check revision"),
        ((407, ""), "the hub answered 407", "HTTPS_PROXY="),
        ((502, ""), "the hub answered 502", "goes on where it stopped"),
    ],
)
def test_each_refusal_says_what_to_do(
    fake_hub: FakeHub, tmp_path: Path, answer: tuple[int, str], reason: str, advice: str
) -> None:
    fake_hub.deny = answer
    env = environ(tmp_path / "cache", fake_hub.endpoint)
    refused = download("small", env=env, status=1)
    assert reason in refused.stderr
    assert advice in refused.stderr
    assert refused.stderr.count("\n") == 1
    assert not (tmp_path / "cache" / LOCK).exists()


def test_no_network(tmp_path: Path) -> None:
    for more in ({}, {"HTTPS_PROXY": "http://127.0.0.1:9"}):
        env = environ(tmp_path / "cache", "https://127.0.0.1:9", **more)
        refused = download("small", env=env, status=1)
        assert "the hub cannot be reached" in refused.stderr
        assert "HTTPS_PROXY" in refused.stderr
    wrong = environ(tmp_path / "cache", "nonsense")
    assert "check HF_ENDPOINT" in download("small", env=wrong, status=1).stderr


def test_damaged_on_the_way(fake_hub: FakeHub, tmp_path: Path) -> None:
    fake_hub.garble = True
    env = environ(tmp_path / "cache", fake_hub.endpoint)
    refused = download("small", env=env, status=1)
    assert "arrived damaged" in refused.stderr
    assert "something on the way" in refused.stderr
    fake_hub.garble = False
    download("small", env=env)


def test_a_full_disk(fake_hub: FakeHub, tmp_path: Path) -> None:
    """A limit of 64 KiB per file makes writes fail like a full disk."""
    env = environ(tmp_path / "cache", fake_hub.endpoint)
    with start("small", env=env) as process:
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (65536, 65536))
        _, said = process.communicate(timeout=240)
    assert process.returncode == 1
    assert "could not be written (File too large)" in said
    assert "free some space" in said
    assert "Traceback" not in said
    download("small", env=env)
    assert fake_hub.ranges == ["bytes=65536-"]
    with start("small", "--output", tmp_path / "out", env=env) as process:
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (100, 100))
        _, said = process.communicate(timeout=240)
    assert process.returncode == 1
    assert "twinlens.lock.json cannot be written (File too large)" in said


def test_a_token_stays_with_the_hub(fake_hub: FakeHub, tmp_path: Path) -> None:
    with FakeHub(fake_hub.cache).running() as elsewhere:
        fake_hub.large_files = elsewhere
        env = environ(tmp_path / "cache", fake_hub.endpoint, HF_TOKEN="hf_secret")
        download("small", env=env)
    assert weights_of(tmp_path / "cache").read_bytes() == WEIGHTS
    assert "model.safetensors" in elsewhere.gets
    assert not elsewhere.tokens
