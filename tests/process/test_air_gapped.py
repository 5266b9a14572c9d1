# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests models for a machine without network, and that the service keeps the same records."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

from benchmarks.service import Service
from tests.fake_hub import FakeHub
from tests.process.caches import (
    LOCK,
    SMALL,
    download,
    environ,
    folder,
    publish,
    recorded,
    weights_of,
)
from tests.process.conftest import SMALL as PHOTO

FILES = {"image": ("a.png", PHOTO)}


def test_a_folder_is_carried_and_a_service_answers_from_it(
    hub: Path, start: Callable[..., Service], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    with FakeHub(hub).running() as fake_hub:
        env = environ(tmp_path / "cache", fake_hub.endpoint)
        made = download("small", "--output", out, env=env)
    assert made.stdout.endswith("downloaded\n")
    assert f"Copy all of {out}" in made.stderr
    assert "HF_HUB_CACHE=COPY HF_HUB_OFFLINE=1" in made.stderr
    assert not (tmp_path / "cache").exists()
    shutil.copytree(out, copy := tmp_path / "copy", symlinks=True)
    shutil.rmtree(out)
    assert download("small", env=environ(copy)).stdout.endswith("verified\n")
    service = start(HF_HUB_CACHE=copy, ENABLED_FAMILIES="depth")
    answer = service.post("/api/depth", files=FILES)
    assert answer.status_code == 200
    assert answer.headers["X-Model-Revision"] == recorded(copy)["commit"]


def test_what_a_cache_has_is_not_downloaded_again(tmp_path: Path) -> None:
    cache, out, third = tmp_path / "cache", tmp_path / "out", tmp_path / "third"
    published = tmp_path / "published"
    old = publish(published, b"old")
    with FakeHub(published).running() as fake_hub:
        download("small", env=environ(cache, fake_hub.endpoint))
    made = download("small", "--output", out, env=environ(cache))
    assert made.stdout.endswith("copied\n")
    assert weights_of(out).is_symlink()
    assert weights_of(out).samefile(weights_of(cache)), "the same disk: no second copy"
    assert recorded(out) == recorded(cache)
    again = download("small", "--output", out, env=environ(cache))
    assert again.stdout.endswith("verified\n")

    # The copy is made of files, as some ways of copying turn links into files. The target has a
    # model already, as the other machine may have a cache.
    shutil.copytree(out, copy := tmp_path / "copy")
    publish(published, b"large", "depth-anything/Depth-Anything-V2-Large-hf")
    with FakeHub(published).running() as fake_hub:
        download("large", env=environ(third, fake_hub.endpoint))
    assert download("small", "--output", third, env=environ(copy)).stdout.endswith("copied\n")
    assert download("small", "large", env=environ(third)).stdout.count("verified") == 2

    # If another commit arrives, the user has to decide which of the two counts.
    new = publish(published, b"new")
    with FakeHub(published).running() as fake_hub:
        download("small", "--update", env=environ(cache, fake_hub.endpoint))
    held = download("small", "--output", third, env=environ(cache))
    assert old in held.stdout
    shutil.rmtree(folder(third))
    refused = download("small", "--output", third, env=environ(cache), status=1)
    assert f"records commit {old}" in refused.stderr
    assert "--update" in refused.stderr
    taken = download("small", "--update", "--output", third, env=environ(cache))
    assert taken.stdout.endswith("copied\n")
    assert recorded(third)["commit"] == new


def test_what_is_missing_is_told(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    absent = download("small", env=environ(cache), status=1)
    top = folder(cache)
    for text in (
        SMALL,
        "HF_HUB_OFFLINE is set",
        f"{top}/snapshots/COMMIT/model.safetensors",
        f"{top}/refs/main",
        "python -m app download small --output DIR",
        f"HF_HUB_CACHE=DIR HF_HUB_OFFLINE=1 python -m app download small --output {cache}",
    ):
        assert text in absent.stderr
    assert absent.stdout == ""
    commit = publish(cache, b"weights")
    weights_of(cache).unlink()
    less = download("small", env=environ(cache), status=1)
    assert f"{top}/snapshots/{commit}/model.safetensors" in less.stderr
    assert "config.json" not in less.stderr


def test_a_cache_of_other_programs_is_recorded(tmp_path: Path) -> None:
    commit = publish(cache := tmp_path / "cache", b"weights")
    assert download("small", env=environ(cache)).stdout.endswith("recorded\n")
    assert recorded(cache)["commit"] == commit
    assert download("small", env=environ(cache)).stdout.endswith("verified\n")
    # Even without a record, damage is found, because the names of blobs are checksums.
    other = tmp_path / "other"
    publish(other, b"weights")
    path = weights_of(other).resolve()
    path.write_bytes(b"changed")
    assert f"{path} is damaged" in download("small", env=environ(other), status=1).stderr
    assert not (other / LOCK).exists()


def test_the_service_records_verifies_and_holds_to_it(
    hub: Path, start: Callable[..., Service], tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    settings = {"HF_HUB_CACHE": cache, "ENABLED_FAMILIES": "depth", "WARMUP_ON_STARTUP": "false"}
    with FakeHub(hub).running() as fake_hub:
        service = start(False, **settings, HF_ENDPOINT=fake_hub.endpoint, HF_HUB_OFFLINE=0)
        service.wait_for("/ready", 200)
        assert service.stop() == 0
        assert download("small", env=environ(cache)).stdout.endswith("verified\n")
        env = environ(tmp_path / "own", fake_hub.endpoint)
        download("small", env=env)
        assert recorded(tmp_path / "own") == recorded(cache)

        # If the files are deleted and the hub has others, the service refuses to download those.
        shutil.rmtree(folder(cache))
        record = json.loads((cache / LOCK).read_text())
        files = record["repositories"][SMALL]["main"]["files"]
        files["model.safetensors"]["sha256"] = "0" * 64
        (cache / LOCK).write_text(json.dumps(record))
        service = start(False, **settings, HF_ENDPOINT=fake_hub.endpoint, HF_HUB_OFFLINE=0)
        refused = service.post("/api/models/small/download")
        assert refused.status_code == 500
        message = refused.json()["message"]
        assert "model.safetensors on the hub is not the one that was recorded" in message
        assert service.stop() == 0

    # Each load compares the sizes of the files with the recorded sizes.
    with weights_of(tmp_path / "own").open("ab") as file:
        file.write(b"more")
    size = weights_of(tmp_path / "own").stat().st_size
    service = start(False, **settings | {"HF_HUB_CACHE": tmp_path / "own"})
    assert service.post("/api/depth", files=FILES).status_code == 503
    (small,) = [each for each in service.get("/health").json()["models"] if each["name"] == "small"]
    assert small["state"] == "unavailable"
    assert f"it has {size} bytes, {size - 4} are recorded" in small["reason"]
    assert service.stop() == 0
    # A model stays usable if its record cannot be read.
    with weights_of(tmp_path / "own").open("r+b") as file:
        file.truncate(size - 4)
    (tmp_path / "own" / LOCK).write_text("?")
    service = start(False, **settings | {"HF_HUB_CACHE": tmp_path / "own"})
    assert service.post("/api/depth", files=FILES).status_code == 200
    assert "its files are not checked" in service.text()
