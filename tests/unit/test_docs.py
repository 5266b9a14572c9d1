# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests README.md and docs/: their links work, and the things that they name exist."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest

from app.blueprints.openapi import document as openapi
from app.rendering.options import DepthOptions
from app.rendering.scene_options import SceneOptions
from benchmarks.service import PROJECT

DOCUMENTS = sorted(
    path
    for pattern in ("*.md", "docs/*.md", "app/models/builtin/*/README.md", "training/cards/*.md")
    for path in PROJECT.glob(pattern)
)
README = PROJECT / "README.md"
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def prose(path: Path) -> str:
    """Return the text of a document without its code blocks."""
    return re.sub(r"^```.*?^```$", "", path.read_text(), flags=re.MULTILINE | re.DOTALL)


@cache
def anchors(path: Path) -> set[str]:
    """Return the anchors that GitHub makes for the headings of a document."""
    headings = re.findall(r"^#+ (.+)$", prose(path), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(PROJECT)))
def test_links_lead_somewhere(document: Path) -> None:
    broken = []
    for link in LINK.findall(prose(document)):
        if re.match(r"https?:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (document.parent / name).resolve() if name else document
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert not broken


def test_every_document_is_reached_from_the_readme() -> None:
    linked = {
        (README.parent / link.split("#")[0]).resolve() for link in LINK.findall(prose(README))
    }
    assert {path for path in DOCUMENTS if path.parent.name == "docs"} <= linked


def test_the_readme_stays_short() -> None:
    assert len(README.read_text().splitlines()) < 300


def test_pictures_are_small() -> None:
    pictures = list((PROJECT / "docs" / "images").iterdir())
    assert pictures
    assert all(picture.stat().st_size < 150_000 for picture in pictures)


def test_targets_of_make_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (PROJECT / "Makefile").read_text(), re.MULTILINE))
    for document in DOCUMENTS:
        named = set(re.findall(r"(?:`|^)make ([a-z-]+)", document.read_text(), re.MULTILINE))
        assert named <= targets, document


def test_versions_of_packages_are_those_of_the_requirements() -> None:
    pinned = set(re.findall(r"^\S+==\S+", (PROJECT / "requirements.txt").read_text(), re.MULTILINE))
    assert set(re.findall(r"\b[\w-]+==[\d.]+\d", README.read_text())) <= pinned


def test_the_reference_has_every_route_and_option() -> None:
    text = (PROJECT / "docs" / "api.md").read_text()
    for path in openapi()["paths"]:
        assert re.search(rf"{re.escape(path.replace('{key}', '<key>'))}`", text), path
    for name, schema in DepthOptions.model_json_schema()["properties"].items():
        row = re.search(rf"^\| `{name}` \|(?:.*\n\| \|)*.*", text, re.MULTILINE)
        assert row, name
        for choice in schema.get("enum", ()):
            assert f"`{choice}`" in row[0], (name, choice)


def test_the_reference_has_every_option_of_scenes() -> None:
    text = (PROJECT / "docs" / "api.md").read_text()
    section = text.partition("## `POST /api/splat`")[2].partition("\n## ")[0]
    for name, schema in SceneOptions.model_json_schema()["properties"].items():
        row = re.search(rf"^\| `{name}` \|(?:.*\n\| \|)*.*", section, re.MULTILINE)
        assert row, name
        for choice in schema.get("enum", ()):
            assert f"`{choice}`" in row[0], (name, choice)
        for limit in ("default", "minimum", "maximum"):
            value = schema.get(limit)
            assert not isinstance(value, int) or str(value) in row[0], (name, limit)
