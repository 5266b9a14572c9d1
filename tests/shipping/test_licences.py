# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests that docs/licences.md has all that ships, with the licence that it states.

Compares with what is installed here, without a network. A failure means: read the licence, then
write it into the page.
"""

from __future__ import annotations

import re
import site
import sys
import tomllib
from pathlib import Path

import pytest

from benchmarks.service import PROJECT
from tests.shipping.licences import stated

PAGE = (PROJECT / "docs/licences.md").read_text()
LOCKED = set(re.findall(r"^([\w.-]+)==", (PROJECT / "requirements.lock").read_text(), re.M))
SHIPPED = LOCKED | {"torch", "torchvision"}


def table(heading: str) -> list[list[str]]:
    """Return the rows of the table under a heading, without its first two lines."""
    section = PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    rows = [line.strip("|").split("|") for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row] for row in rows[2:]]


def words(cell: str) -> set[str]:
    return {word.strip(" `") for word in cell.rpartition(": ")[2].split(",")}


def test_every_package_is_there_with_its_licence() -> None:
    written = {
        name: licence for licence, names in table("Python packages") for name in words(names)
    }
    assert written.keys() == SHIPPED, "a package is new, or gone"
    for name, licence in sorted(written.items()):
        assert stated(name) in (licence, None), name
    absent = {name for name in SHIPPED if stated(name) is None}
    assert absent <= {name for name, licence in written.items() if "not installed" in licence}


@pytest.mark.skipif(sys.platform != "linux", reason="other systems' wheels have other libraries")
def test_every_library_inside_a_wheel_is_there() -> None:
    written: dict[str, set[str]] = {}
    for packages, libraries, _ in table("Libraries inside wheels"):
        for package in words(packages):
            written.setdefault(package, set()).update(words(libraries))
    found = {}
    for place in site.getsitepackages():
        for folder in Path(place).glob("*.libs"):
            package = folder.stem.replace("_", "-")
            if package in SHIPPED:
                names = {re.split(r"[-.]", file.name)[0] for file in folder.iterdir()}
                found[package] = {name.removeprefix("lib") for name in names}
    assert "av" in found
    for package, inside in found.items():
        assert inside <= written[package], package


def test_every_model_is_there_with_its_licence() -> None:
    models = tomllib.loads((PROJECT / "config/models.toml").read_text())["model"]
    stated_of_models = {model["key"]: model["license"] for model in models}
    written = {key: licence for licence, _, keys in table("Weights") for key in words(keys)}
    assert written == stated_of_models


def test_what_forbids_commerce_is_bold() -> None:
    for licence, asks, _ in table("Weights"):
        if re.search("NC|amlr", licence):
            assert asks.startswith("**")
