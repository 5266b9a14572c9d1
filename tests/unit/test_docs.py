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
from tests.unit.test_layers import LAYERS

DOCUMENTS = sorted(
    path
    for pattern in (
        "*.md",
        "docs/*.md",
        "docs/recipes/*.md",
        "app/models/builtin/*/README.md",
        "training/cards/*.md",
    )
    for path in PROJECT.glob(pattern)
)
README = PROJECT / "README.md"
OTHERS = sorted(
    path
    for pattern in (".github/**/*.md", "app/console/vendor/*.md", "tests/*/*.md")
    for path in PROJECT.glob(pattern)
)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def prose(path: Path) -> str:
    """Return the text of a document without its code blocks."""
    return re.sub(r"^```.*?^```$", "", path.read_text(), flags=re.MULTILINE | re.DOTALL)


@cache
def anchors(path: Path) -> set[str]:
    """Return the anchors that GitHub makes for the headings of a document."""
    headings = re.findall(r"^#+ (.+)$", prose(path), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def links(path: Path) -> set[Path]:
    """Return the files of the project that a document links."""
    found = (link.partition("#")[0] for link in LINK.findall(prose(path)))
    return {(path.parent / name).resolve() for name in found if name and ":" not in name}


@pytest.mark.parametrize(
    "document", DOCUMENTS + OTHERS, ids=lambda path: str(path.relative_to(PROJECT))
)
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
    """Each page is linked by the README, or by a page that the README links."""
    first = links(README)
    second = {page for near in first if near.suffix == ".md" for page in links(near)}
    assert set(PROJECT.glob("docs/**/*.md")) <= first | second


@pytest.mark.parametrize(
    "document", DOCUMENTS + OTHERS, ids=lambda path: str(path.relative_to(PROJECT))
)
def test_lines_are_short(document: Path) -> None:
    """Tables, code, and the comments that tests read may be longer."""
    lines = (line for line in prose(document).splitlines() if not line.startswith(("|", "<!--")))
    assert not [line for line in lines if len(line) >= 120]


def test_the_readme_stays_short() -> None:
    assert len(README.read_text().splitlines()) <= 125


def test_the_architecture_shows_each_room_above_what_it_may_import() -> None:
    text = (PROJECT / "docs" / "architecture.md").read_text()
    shown = [name.rstrip("/") for name in re.findall(r"^\| `([\w./]+)`", text, re.MULTILINE)]
    rows = [shown.index("wsgi.py")]
    for layer in LAYERS[1:]:
        rooms = (name.replace(".", "/") for name in sorted(layer))
        places = [shown.index(room if room in shown else f"{room}.py") for room in rooms]
        assert min(places) > rows[-1], layer
        rows.append(max(places))


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
    for document in DOCUMENTS:
        named = set(re.findall(r"\b[\w-]+==[\d.]+\d", document.read_text()))
        assert named <= pinned, document


def test_messages_in_the_page_of_troubleshooting_are_those_of_the_program() -> None:
    """What a user searches for is what the service prints, word for word; … stands for a value."""
    program = "\n".join(
        path.read_text()
        for folder in ("app", "config")
        for path in (PROJECT / folder).rglob("*.py")
    )
    program = re.sub(r'"\s*\n\s*f?"', "", program)  # a text that goes on in the next line
    program = re.sub(r"\{[^{}]*\}", "…", program) + (PROJECT / "Makefile").read_text()
    program = program.replace("The … family", "The depth family")
    others = ("port is already allocated", "was sent SIGKILL! Perhaps out of memory?")
    page = (PROJECT / "docs" / "troubleshooting.md").read_text()
    messages = [
        part.strip()
        for row in re.findall(r"^\| (.*?) \|", page, re.MULTILINE)
        if not row.startswith(("Docker:", "the installation", "`depth.png`"))
        for quoted in re.findall(r"`([^`]+)`", row)
        for part in quoted.split("…")
    ]
    assert len(messages) > 25
    assert not [each for each in messages if each not in program and each not in others]


def test_the_reference_has_every_route_and_option() -> None:
    text = (PROJECT / "docs" / "api.md").read_text()
    for path in openapi()["paths"]:
        written = path.replace("{", "<").replace("}", ">")
        assert re.search(rf"{re.escape(written)}`", text), path
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
