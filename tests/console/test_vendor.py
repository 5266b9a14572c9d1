# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests that the files of other projects are theirs, unchanged, and served with the console."""

from __future__ import annotations

import json
import re
from hashlib import sha256

import pytest
import requests

from benchmarks.service import PROJECT, Service

FOLDER = PROJECT / "app/console/vendor"
PACKAGES = PROJECT / "tests/clients/node_modules"
README = (FOLDER / "README.md").read_text()
FILES = sorted(
    file.relative_to(FOLDER).as_posix()
    for file in FOLDER.rglob("*")
    if file.is_file() and file.name != "README.md"
)


@pytest.mark.parametrize("name", FILES)
def test_each_file_is_the_one_of_its_package(name: str) -> None:
    content = (FOLDER / name).read_bytes()
    assert content == (PACKAGES / name).read_bytes()
    assert f"| `{name}` | {len(content):,} | `{sha256(content).hexdigest()}` |" in README


def test_the_list_is_complete_and_names_the_versions() -> None:
    assert sorted(re.findall(r"^\| `([^`]+)` \| [\d,]+ \| `", README, re.M)) == FILES
    listed = dict(re.findall(r"^\| `([^`]+)` \| ([\d.]+) \| MIT", README, re.M))
    assert listed == {
        package: json.loads((PACKAGES / package / "package.json").read_text())["version"]
        for package in ("three", "@sparkjsdev/spark", "fflate")
    }
    assert all((FOLDER / package / "LICENSE").exists() for package in listed)


@pytest.mark.parametrize("name", [name for name in FILES if name.endswith(".js")])
def test_it_is_served_compressed_and_kept_by_browsers(demo: Service, name: str) -> None:
    address = demo.url(f"/ui/vendor/{name}")
    answer = requests.get(address, timeout=240)
    assert answer.content == (FOLDER / name).read_bytes()
    assert answer.headers["Content-Encoding"] == "gzip"
    assert int(answer.headers["Content-Length"]) < len(answer.content) / 2
    plain = requests.get(address, headers={"Accept-Encoding": "identity"}, timeout=240)
    assert plain.content == answer.content
    assert "Content-Encoding" not in plain.headers
    assert plain.headers["ETag"] != answer.headers["ETag"]
    known = {"If-None-Match": answer.headers["ETag"]}
    assert requests.get(address, headers=known, timeout=240).status_code == 304


@pytest.mark.parametrize("name", ["README.md", "three/LICENSE", "three", "three/%2e%2e/README.md"])
def test_nothing_else_of_the_folder_is_served(demo: Service, name: str) -> None:
    assert demo.get(f"/ui/vendor/{name}").status_code == 404
