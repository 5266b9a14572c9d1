# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests that ``python -m app download`` records, verifies, pins and resumes what it downloads."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import signal
import struct
import subprocess
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.service import PROJECT
from tests.fake_hub import FakeHub
from tests.process.caches import (
    BASE,
    LOCK,
    SMALL,
    download,
    environ,
    folder,
    publish,
    recorded,
    start,
    weights_of,
)
from tests.process.folders import command
from tests.waiting import wait_for

WEIGHTS = bytes(range(256)) * 400


@pytest.fixture
def fake_hub(tmp_path: Path) -> Iterator[FakeHub]:
    with FakeHub(tmp_path / "published").running() as running:
        yield running


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def line(key: str, repository: str, commit: str, size: int, how: str) -> str:
    return f"{key}\t{repository}\t{commit}\t{size + 5}\t{how}\n"


def test_the_first_time_records_and_the_second_verifies(fake_hub: FakeHub, cache: Path) -> None:
    commit = publish(fake_hub.cache, WEIGHTS)
    other = publish(fake_hub.cache, WEIGHTS + b"base", BASE)
    env = environ(cache, fake_hub.endpoint)
    first = download("small", "base", "small", "builtin-depth", env=env)
    expected = line("small", SMALL, commit, len(WEIGHTS), "downloaded")
    expected += line("base", BASE, other, len(WEIGHTS) + 4, "downloaded")
    assert first.stdout == expected
    assert "builtin-depth is a part of the program: there is nothing to download" in first.stderr
    weights = {"size": len(WEIGHTS), "sha256": hashlib.sha256(WEIGHTS).hexdigest()}
    assert recorded(cache)["commit"] == commit
    assert recorded(cache)["files"]["model.safetensors"] == weights
    assert not list(cache.rglob("*.twinlens-partial"))

    before = len(fake_hub.gets), len(fake_hub.heads)
    again = download("small", "base", env=env)
    assert again.stdout == expected.replace("downloaded", "verified")
    assert (len(fake_hub.gets), len(fake_hub.heads)) == before
    assert download("small", env=environ(cache)).stdout.endswith("verified\n"), "also offline"


def test_without_names_it_takes_what_the_service_needs(fake_hub: FakeHub, cache: Path) -> None:
    commit = publish(fake_hub.cache, WEIGHTS, BASE)
    env = environ(cache, fake_hub.endpoint, DEPTH_MODEL="base", DEFAULT_MODEL="builtin-clip")
    assert download(env=env).stdout == line("base", BASE, commit, len(WEIGHTS), "downloaded")
    env = environ(cache, fake_hub.endpoint, DEPTH_MODEL="base", ENABLED_FAMILIES="depth")
    assert download(env=env).stdout == line("base", BASE, commit, len(WEIGHTS), "verified")


def test_a_changed_byte_is_found(fake_hub: FakeHub, cache: Path) -> None:
    publish(fake_hub.cache, WEIGHTS)
    publish(fake_hub.cache, WEIGHTS, BASE)
    env = environ(cache, fake_hub.endpoint)
    download("small", env=env)
    path = weights_of(cache).resolve()
    path.write_bytes(WEIGHTS[:-1] + b"!")
    found = download("small", "base", env=env, status=1)
    assert f"{path} is damaged or was changed" in found.stderr
    assert hashlib.sha256(WEIGHTS).hexdigest() in found.stderr
    assert f"rm {path}" in found.stderr
    assert found.stdout.startswith("base\t"), "the others are brought"
    out = cache.parent / "out"
    carried = download("small", "--output", out, env=env, status=1)
    assert f"{path} is damaged" in carried.stderr
    assert not list(out.glob("models--*"))
    path.unlink()
    assert download("small", env=env).stdout.endswith("downloaded\n")
    path.write_bytes(WEIGHTS[:-1])
    assert f"{len(WEIGHTS) - 1} bytes" in download("small", env=env, status=1).stderr


def test_the_recorded_commit_is_kept_until_an_update(fake_hub: FakeHub, cache: Path) -> None:
    old = publish(fake_hub.cache, WEIGHTS)
    env = environ(cache, fake_hub.endpoint)
    download("small", env=env)
    new = publish(fake_hub.cache, WEIGHTS + b"new")
    assert old in download("small", env=env).stdout
    shutil.rmtree(folder(cache))
    assert download("small", env=env).stdout == line(
        "small", SMALL, old, len(WEIGHTS), "downloaded"
    )
    # Another program may move the branch in the cache.
    (folder(cache) / "refs" / "main").write_text(new)
    assert download("small", env=env).stdout == line("small", SMALL, old, len(WEIGHTS), "verified")

    updated = line("small", SMALL, new, len(WEIGHTS) + 3, "downloaded")
    assert download("small", "--update", env=env).stdout == updated
    assert recorded(cache)["commit"] == new
    kept = updated.replace("downloaded", "verified")
    assert download("small", env=env).stdout == kept
    assert download("small", "--update", env=env).stdout == kept
    config = weights_of_commit(cache, new).with_name("config.json").resolve()
    config.write_bytes(b"[]")
    refused = download("small", "--update", env=env, status=1)
    assert "config.json on disk is damaged" in refused.stderr

    shutil.rmtree(folder(cache))
    shutil.rmtree(folder(fake_hub.cache) / "snapshots" / new)
    gone = download("small", env=env, status=1)
    assert "the hub no longer has the recorded commit" in gone.stderr
    assert "--update" in gone.stderr


def weights_of_commit(cache: Path, commit: str) -> Path:
    return folder(cache) / "snapshots" / commit / "model.safetensors"


def test_it_is_interrupted_and_goes_on(fake_hub: FakeHub, cache: Path) -> None:
    weights = os.urandom(24_000_000)
    publish(fake_hub.cache, weights)
    env = environ(cache, fake_hub.endpoint)
    fake_hub.stall_at = 23_000_000
    with start("small", env=env) as process:
        wait_for(lambda: any(path.stat().st_size for path in cache.rglob("*.twinlens-partial")))
        written = 20 * 2**20  # the hub client writes in pieces of 10 MiB
        wait_for(lambda: [p for p in cache.rglob("*-partial") if p.stat().st_size == written])
        process.send_signal(signal.SIGINT)
        said, complained = process.communicate(timeout=240)
    assert process.returncode == 130
    assert "run the same command again" in complained
    assert said == ""
    assert not (cache / LOCK).exists()
    fake_hub.stall_at = None
    download("small", env=env)
    assert fake_hub.ranges == [f"bytes={written}-"]
    assert weights_of(cache).read_bytes() == weights


def test_a_bar_on_a_terminal_only(fake_hub: FakeHub, cache: Path) -> None:
    publish(fake_hub.cache, WEIGHTS)
    env = environ(cache, fake_hub.endpoint)
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("4H", 24, 80, 0, 0))
    with subprocess.Popen(command("download", "small"), cwd=PROJECT, env=env, stderr=theirs) as run:
        assert run.wait(120) == 0
    os.close(theirs)
    said = os.read(ours, 2**16).decode()
    os.close(ours)
    assert "small: 100%" in said
    assert "102k/102k" in said
    assert download("small", env=env).stderr == ""


def test_two_at_once(fake_hub: FakeHub, cache: Path) -> None:
    """Two processes download the same two models at the same time, but each byte comes once."""
    publish(fake_hub.cache, WEIGHTS)
    publish(fake_hub.cache, WEIGHTS, BASE)
    env = environ(cache, fake_hub.endpoint)
    fake_hub.stall_at = 1000
    with start("small", "base", env=env) as one, start("base", "small", env=env) as other:
        wait_for(lambda: len(fake_hub.heads) == 8)  # for four files in each of two processes
        fake_hub.stall_at = None
        for process in (one, other):
            said, complained = process.communicate(timeout=240)
            assert process.returncode == 0, complained
            assert said.count("\n") == 2
    assert download("small", "base", env=environ(cache)).stdout.count("verified") == 2
    assert not list(cache.rglob("*.twinlens-partial"))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "EOF"),
        ("not JSON", "Invalid JSON"),
        ("{}", "version"),
        ('{"version": 2, "repositories": {}}', "version: Input should be 1"),
        (
            f'{{"version": 1, "repositories": {{"{SMALL}": {{"main": {{"commit": "../../x", '
            '"files": {}}}}}',
            "commit",
        ),
        ('{"version": 1, "repositories": {}}' + " " * 2**20, "larger than it can be"),
    ],
)
def test_a_lock_file_that_is_not_ours_stays(
    fake_hub: FakeHub, cache: Path, text: str, why: str
) -> None:
    publish(fake_hub.cache, WEIGHTS)
    cache.mkdir()
    (cache / LOCK).write_text(text)
    env = environ(cache, fake_hub.endpoint)
    refused = download("small", env=env, status=1)
    assert str(cache / LOCK) in refused.stderr
    assert why in refused.stderr
    assert "move it away" in refused.stderr
    assert (cache / LOCK).read_text() == text
    assert not fake_hub.gets


def test_wrong_usage(cache: Path) -> None:
    offline = environ(cache)
    unknown = download("small", "smal", env=offline, status=2)
    assert "unknown: 'smal' (did you mean small?); known: small, base, large, " in unknown.stderr
    assert "HF_HUB_OFFLINE is set" in download("small", "--update", env=offline, status=2).stderr
    (cache.parent / "file").touch()
    bad = download("small", "--output", cache.parent / "file" / "x", env=offline, status=2)
    assert "cannot be made (Not a directory)" in bad.stderr
    assert download("builtin-clip", env=offline).stdout == ""
