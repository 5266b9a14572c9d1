# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Runs the examples of docs/search.md: vectors are made, searched, and read by other programs."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from PIL import Image, ImageDraw

from benchmarks.service import PROJECT, Service, free_port
from tests.contract.test_readme import BLOCK

TEXT = (PROJECT / "docs" / "search.md").read_text()
#: the picture that "a red circle on white" describes
BEST = "photos/circle.png"


def blocks(language: str) -> list[str]:
    return [found["code"] for found in BLOCK.finditer(TEXT) if found["language"] == language]


def draw(file: Path, shape: str, colour: str, background: str = "white") -> None:
    image = Image.new("RGB", (120, 120), background)
    pen = ImageDraw.Draw(image)
    if shape == "circle":
        pen.ellipse((20, 20, 100, 100), colour)
    else:
        pen.rectangle((20, 20, 100, 100), colour)
    image.save(file)


@pytest.fixture(scope="module")
def folder(demo: Service, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make the reader's folder, and run all commands of the document in it."""
    here = tmp_path_factory.mktemp("search")
    (here / "photos").mkdir()
    draw(here / BEST, "circle", "red")
    draw(here / "photos" / "copy.png", "circle", "red")
    draw(here / "photos" / "square.png", "square", "blue", "yellow")
    draw(here / "photos" / "green.png", "square", "green", "black")
    (here / "photos" / "broken.png").write_bytes((here / BEST).read_bytes()[:200])
    draw(here / "photo.jpg", "square", "green", "black")
    (here / "tags.txt").write_text("red circle\nblue square\ngreen square\n")
    for code in blocks("sh"):
        for line in code.splitlines() if "psql" not in code else ():
            # A broken picture ends embed with 1, as it should.
            line = line.replace(".venv/bin/python", PYTHON)
            line = f"{line} || test $? = 1" if " embed " in line else line
            said = run(demo, here, ["bash", "-euc", line])
            with (here / "said.txt").open("a") as file:
                file.write(f"$ {line}\n{said}")
    return here


PYTHON = sys.executable


def run(service: Service, here: Path, command: list[str]) -> str:
    done = subprocess.run(
        command,
        cwd=here,
        env=service.environ | {"PYTHONPATH": str(PROJECT)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_words_and_pictures_are_found(folder: Path) -> None:
    _, _, words, picture, group, _ = (folder / "said.txt").read_text().split("$ ")
    assert {line.split("  ")[1] for line in words.splitlines()[1:3]} == {BEST, "photos/copy.png"}
    assert picture.splitlines()[1].endswith("  photos/green.png")
    assert len(picture.splitlines()) == 1 + 4
    assert "# group 1: 2 pictures" in group
    assert (folder / "like-this.html").read_text().count("data:image/jpeg") == 5
    assert (folder / "duplicates.html").read_text().count("data:image/jpeg") == 2


def test_labels_have_scores(folder: Path) -> None:
    rows = pq.read_table(folder / "tags.parquet").to_pylist()
    best = {row["path"]: row["tag"] for row in rows if row["rank"] == 1}
    assert best[BEST] == "red circle"
    assert best["photos/green.png"] == "green square"
    assert len(rows) == 4 * 3
    assert sum(row["score"] for row in rows) == pytest.approx(4)


def test_other_programs_find_the_same(folder: Path, demo: Service) -> None:
    """All in one process, because each import takes seconds."""
    code = "\n".join(blocks("python"))
    code = code.replace("http://localhost:8000", f"http://127.0.0.1:{demo.embedder_port}")
    lines = run(demo, folder, [PYTHON, "-c", code]).splitlines()
    assert [line.split()[0] for line in lines] == ["DuckDB", "LanceDB", "Qdrant", "FAISS"]
    paths = re.compile(r"photos/[a-z]+\.png")
    for line in lines:
        found = paths.findall(line)
        assert set(found[:2]) == {BEST, "photos/copy.png"}, line
        assert len(found) == 4, line
    assert len((folder / "vectors.csv").read_text().splitlines()) == 1 + 4


BINARIES = sorted(Path("/usr/lib/postgresql").glob("*/bin"))


@pytest.fixture
def postgres(tmp_path: Path) -> Iterator[dict[str, str]]:
    """Run a PostgreSQL of the test's own, as nobody if the test runs as root."""
    if not BINARIES or shutil.which("psql") is None:
        pytest.skip("PostgreSQL is not installed")
    share = subprocess.check_output([BINARIES[-1] / "pg_config", "--sharedir"], text=True).strip()
    if not Path(share, "extension", "vector.control").exists():
        pytest.skip("PostgreSQL's extension pgvector is not installed")
    user = "nobody" if os.getuid() == 0 else None
    home = tmp_path / "postgres"
    home.mkdir()
    if user:
        shutil.chown(home, user)
        for above in home.parents:
            if above.is_relative_to(tmp_path.parents[2]) and above != above.parent:
                above.chmod(above.stat().st_mode | 0o011)
    data, port = str(home / "data"), str(free_port())
    options = f"-p {port} -k {home} -c listen_addresses="
    control = [str(BINARIES[-1] / "pg_ctl"), "-D", data, "-w", "-l", str(home / "log")]
    make = [str(BINARIES[-1] / "initdb"), "-D", data, "-U", "reader", "-A", "trust"]
    subprocess.run(make, user=user, check=True)
    subprocess.run([*control, "-o", options, "start"], user=user, check=True)
    try:
        yield {
            "PGHOST": str(home),
            "PGPORT": port,
            "PGUSER": "reader",
            "PGDATABASE": "postgres",
        }
    finally:
        subprocess.run([*control, "-m", "immediate", "stop"], user=user, check=True)


def test_pgvector_finds_the_same(folder: Path, postgres: dict[str, str]) -> None:
    (code,) = [each for each in blocks("sh") if "psql" in each]
    (vectors,) = [each for each in blocks("python") if "vectors.csv" in each]
    rows = pq.read_table(folder / "vectors.parquet").to_pylist()
    (vector,) = [row["embedding"] for row in rows if row["path"] == BEST]
    code_before = f"wanted = {list(map(float, vector))}\n{vectors}"
    subprocess.run([PYTHON, "-c", code_before], cwd=folder, check=True)
    environ = os.environ | postgres
    out = subprocess.check_output(["bash", "-euc", code], cwd=folder, env=environ, text=True)
    assert "photos/circle.png" in out
    assert out.index("photos/copy.png") < out.index("photos/square.png")
