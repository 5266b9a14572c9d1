# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Runs the examples of README.md and docs/ word for word, as a reader would."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from benchmarks.service import PROJECT, Service
from tests import ply
from tests.films.numbered import film
from tests.pictures import encoded, picture

RECIPES = ("home-assistant", "posters", "comfyui", "photo-frame", "n8n")
DOCUMENTS = (
    "README.md",
    "docs/start.md",
    "docs/migrating.md",
    "docs/api.md",
    "docs/text.md",
    *(f"docs/recipes/{name}.md" for name in RECIPES),
)
INPUTS = ("photo.jpg", "poster.jpg", "photos/one.jpg", "photos/two.jpg", "posters/three.jpg")
FILM = "film.mp4"
WIDTH, HEIGHT = 160, 120
PHOTO = encoded(picture(WIDTH, HEIGHT), "JPEG")
# If a block cannot run here, a comment in the line before it says why.
BLOCK = re.compile(
    r"(?:^<!-- not run: (?P<why>.+) -->\n)?^```(?P<language>.*)\n(?P<code>(?s:.*?))^```$",
    re.MULTILINE,
)
SHOWN = {
    "json",
    "yaml",
    "html",
    "toml",
    "ini",
}  # these show answers, or are for other programs; not run


class Block(NamedTuple):
    """A code block of a document."""

    document: str
    line: int
    language: str
    code: str
    why_not_run: str | None

    def __str__(self) -> str:
        return f"{self.document}:{self.line}"


def blocks() -> Iterator[Block]:
    for document in DOCUMENTS:
        text = (PROJECT / document).read_text()
        for found in BLOCK.finditer(text):
            line = text.count("\n", 0, found.start("code"))
            yield Block(document, line, found["language"], found["code"], found["why"])


# Says how to run a block of each language. The .curlrc that the fixture ``folder`` writes makes
# curl fail on HTTP errors.
RUN: dict[str, Callable[[str, Path], list[str]]] = {
    "sh": lambda code, _: ["bash", "-euo", "pipefail", "-c", code],
    "python": lambda code, folder: [sys.executable, _file(folder / "example.py", code)],
    "javascript": lambda code, folder: ["node", _file(folder / "example.mjs", code)],
}


def _file(path: Path, code: str) -> str:
    path.write_text(code)
    return str(path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Make the reader's folder, with photos and posters, and beside it the folder with the .curlrc.

    The .curlrc makes curl fail on HTTP errors.
    """
    here, tools = tmp_path / "here", tmp_path / "tools"
    for name in INPUTS:
        (here / name).parent.mkdir(parents=True, exist_ok=True)
        (here / name).write_bytes(PHOTO)
    (here / FILM).write_bytes(film(count=10, rate=5))
    tools.mkdir()
    (tools / ".curlrc").write_text("fail-with-body\nsilent\nshow-error\nmax-time = 60\n")
    return here


@pytest.mark.parametrize(
    "block", [each for each in blocks() if each.language in RUN and not each.why_not_run], ids=str
)
def test_an_example_works(block: Block, service: Service, folder: Path) -> None:
    code = block.code
    for shipped, here in (
        ("localhost:", "127.0.0.1:"),
        ("http://127.0.0.1:5000", f"http://127.0.0.1:{service.depth_port}"),
        ("http://127.0.0.1:8000", f"http://127.0.0.1:{service.embedder_port}"),
        (".venv/bin/python", sys.executable),
    ):
        code = code.replace(shipped, here)
    done = subprocess.run(
        RUN[block.language](code, folder.parent / "tools"),
        cwd=folder,
        env=service.environ
        | {"CURL_HOME": str(folder.parent / "tools"), "PYTHONPATH": str(PROJECT)},
        capture_output=True,
        text=True,
        timeout=110,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    made = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    made -= {*INPUTS, FILM}
    promised = set(
        re.findall(r"\b[\w/]+\.(?:png|jpg|npy|jsonl|parquet|ply|glb|mp4|zip)\b", block.code)
    )
    promised -= {*INPUTS, FILM}
    assert promised <= made, done.stdout + done.stderr
    assert made or done.stdout
    for name in made:
        look_at(folder / name)


def look_at(file: Path) -> None:
    """Check that the content of a file is what its name says."""
    if file.suffix == ".mp4":
        with av.open(str(file), "r") as container:
            assert next(container.decode(video=0)).width > 0
    elif file.suffix == ".zip":
        with zipfile.ZipFile(file) as archive:
            assert archive.testzip() is None
    elif file.suffix in (".png", ".jpg"):
        with Image.open(file) as image:
            assert image.format == {".png": "PNG", ".jpg": "JPEG"}[file.suffix]
            assert image.size == (2 * WIDTH if "_SBS" in file.name else WIDTH, HEIGHT)
            assert (image.mode == "I;16") == ("16" in file.name)
    elif file.suffix == ".npy":
        assert np.load(file).shape == (HEIGHT, WIDTH)
    elif file.suffix == ".ply":
        assert len(ply.read(file.read_bytes())["x"]) >= 0.9 * WIDTH * HEIGHT
    elif file.suffix == ".glb":
        assert file.read_bytes().startswith(b"glTF")
    elif file.suffix == ".parquet":
        table = pq.read_table(file)
        assert (table.num_rows, table.schema.field("embedding").type.list_size) == (3, 512)
    else:
        assert file.suffix == ".jsonl"
        rows = [json.loads(line) for line in file.read_text().splitlines()]
        assert [len(row["embedding"]) for row in rows] == [512] * 3


def test_every_block_is_known() -> None:
    found = list(blocks())
    fences = sum(
        line.startswith("```")
        for document in DOCUMENTS
        for line in (PROJECT / document).read_text().splitlines()
    )
    assert fences == 2 * len(found)
    strange = [str(block) for block in found if block.language not in RUN.keys() | SHOWN]
    assert not strange, "unknown languages"
    for language in RUN:
        assert any(block.language == language and not block.why_not_run for block in found)


def test_node_is_there() -> None:
    """Node.js is installed, which ``make debian`` does.

    Without it, every example in JavaScript would fail.
    """
    version = subprocess.check_output(["node", "--version"], text=True, env=os.environ)
    assert int(version.lstrip("v").split(".")[0]) >= 18
