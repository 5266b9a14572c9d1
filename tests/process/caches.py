# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Publishes repositories of a few bytes on a fake hub, and runs ``python -m app download``."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from app.hub.store import BUILTIN
from benchmarks.service import PROJECT
from tests.process.folders import command

SMALL = "depth-anything/Depth-Anything-V2-Small-hf"
BASE = "depth-anything/Depth-Anything-V2-Base-hf"
#: where ``publish_depth`` publishes
MINE = "me/depth"
LOCK = "twinlens.lock.json"


def folder(cache: Path, repository: str = SMALL) -> Path:
    """Return the folder of a repository in a cache."""
    return cache / f"models--{repository.replace('/', '--')}"


def weights_of(cache: Path, repository: str = SMALL) -> Path:
    """Return the file of the weights by its name in the snapshot."""
    (path,) = folder(cache, repository).glob("snapshots/*/model.safetensors")
    return path


def publish(
    hub: Path, weights: bytes, repository: str = SMALL, more: Mapping[str, bytes] | None = None
) -> str:
    """Add a commit to a depth model's repository and move its main branch to it."""
    files = {
        "config.json": b"{}",
        "preprocessor_config.json": b"{ }",
        "model.safetensors": weights,
        **(more or {}),
    }
    commit = hashlib.sha1(weights).hexdigest()
    top = folder(hub, repository)
    for name in ("blobs", "refs", f"snapshots/{commit}"):
        (top / name).mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        digest = hashlib.sha256(data).hexdigest()
        (top / "blobs" / digest).write_bytes(data)
        (top / "snapshots" / commit / name).symlink_to(f"../../blobs/{digest}")
    (top / "refs" / "main").write_text(commit)
    return commit


def publish_depth(hub: Path, repository: str = MINE, **change: object) -> None:
    """Publish the built-in depth model with a model card and a changed config.json."""
    built_in = BUILTIN / "builtin-depth"
    config = json.loads((built_in / "config.json").read_bytes()) | change
    files = {
        "config.json": json.dumps(config).encode(),
        "preprocessor_config.json": (built_in / "preprocessor_config.json").read_bytes(),
        "README.md": b"---\nlicense: cc-by-nc-4.0\n---\n",
    }
    publish(hub, (built_in / "model.safetensors").read_bytes(), repository, files)


def environ(cache: Path, endpoint: str | None = None, **more: object) -> dict[str, str]:
    """Return the environment for this cache and hub; without ``endpoint`` it is offline."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    ours["HF_HUB_CACHE"] = str(cache)
    ours["HF_ENDPOINT" if endpoint else "HF_HUB_OFFLINE"] = endpoint or "1"
    return ours | {name: str(value) for name, value in more.items()}


def download(
    *arguments: object, env: Mapping[str, str], status: int = 0
) -> subprocess.CompletedProcess[str]:
    """Run the download command to its end, and check its exit status."""
    done = subprocess.run(
        command("download", *arguments),
        cwd=PROJECT,
        env=env,
        text=True,
        capture_output=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr
    return done


def start(*arguments: object, env: Mapping[str, str]) -> subprocess.Popen[str]:
    """Start the download command without waiting for its end."""
    return subprocess.Popen(
        command("download", *arguments),
        cwd=PROJECT,
        env=env,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def recorded(cache: Path, repository: str = SMALL) -> Any:
    """Return the lock file's record of the main branch."""
    return json.loads((cache / LOCK).read_text())["repositories"][repository]["main"]
