# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests ``python -m app search`` in this process: what it prints, its page, and what it refuses."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from app.cli import queries as querying
from app.cli import search as command
from app.cli import sheet
from app.cli.arguments import parse
from app.cli.jobs import EmbedJob
from app.cli.problems import Interrupted, UsageError
from app.cli.queries import Embedder
from app.cli.session import Stop
from app.cli.sheet import Hit, Section
from app.errors import BadRequest
from app.library.folders import Photo
from app.library.nearest import FloatArray, nearest
from app.library.reading import open_vectors
from app.library.rows import Row
from app.models import logits
from app.models.logits import Logits
from config.settings import Settings
from tests.pictures import encoded, picture
from tests.unit.test_search import DIMS, as_parquet, rows_of, vectors_of


def search(*arguments: object) -> None:
    command.search(parse(["search", *map(str, arguments)]), Stop())


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the log of the tests as it is."""
    monkeypatch.setattr(command, "configure_logging", lambda _: None)


@pytest.fixture(scope="module")
def running(built_in: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Embedder]:
    """Start a runtime once for all tests that need a model, because that takes seconds."""
    path = tmp_path_factory.mktemp("any") / "v.parquet"
    as_parquet(path, rows_of(vectors_of(9)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HUB_CACHE", str(built_in))
        settings = Settings(hf_hub_cache=built_in, hf_hub_offline=True)
        with querying.embedder(open_vectors(str(path)), settings, Stop(), images=True) as model:
            yield model


@pytest.fixture
def vectors(tmp_path: Path) -> Path:
    """Make vectors of 29 pictures, of which two exist, and two of which are the same."""
    numbers = vectors_of(29)
    numbers[5] = 2 * numbers[3]
    rows = rows_of(numbers)
    names = {3: tmp_path / "<b>&amp;.png", 5: tmp_path / "copy of 3.png"}
    for number, path in names.items():
        path.write_bytes(encoded(picture(120, 80)))
        rows[number] = replace(rows[number], path=str(path))
    as_parquet(tmp_path / "v.parquet", rows)
    return tmp_path / "v.parquet"


def test_duplicates_need_no_model(
    vectors: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    search(vectors, "--duplicates", "--html", tmp_path / "sheet.html")
    said = capsys.readouterr()
    assert said.out.splitlines() == [
        "# group 1: 2 pictures",
        f"1.0000  {tmp_path / '<b>&amp;.png'}",
        f"1.0000  {tmp_path / 'copy of 3.png'}",
    ]
    assert "24 pictures searched, vectors of builtin-clip; 5 failed" in said.err
    assert "groups: 1; pictures beyond the first of each: 1" in said.err
    text = (tmp_path / "sheet.html").read_text()
    assert "<b>&amp;.png" not in text
    assert "&lt;b&gt;&amp;amp;.png" in text
    assert text.count('src="data:image/jpeg;base64,') == 2

    search(vectors, "--duplicates", "--json", "--threshold", 0.9999)
    answer = json.loads(capsys.readouterr().out)
    assert (answer["searched"], answer["failed"], answer["model"]) == (24, 5, "builtin-clip")
    assert [each["id"] for each in answer["groups"][0]["pictures"]] == ["id3", "id5"]


def test_duplicates_say_which_vectors_cannot_be_compared(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    numbers = vectors_of(29)
    numbers[[3, 5]] = 0
    as_parquet(tmp_path / "v.parquet", rows_of(numbers))
    search(tmp_path / "v.parquet", "--duplicates")
    said = capsys.readouterr().err
    assert "; 2 vectors are all zeros or not finite, and are left out" in said
    assert "no two pictures are that alike (--threshold 0.95)" in said


@pytest.mark.parametrize(
    ("out", "status", "said"),
    [("pipe", 0, ""), ("/dev/full", 1, "the result cannot be written (No space left on device)\n")],
)
def test_a_result_that_cannot_be_printed(vectors: Path, out: str, status: int, said: str) -> None:
    """Such as that of ``search ... | head``, which ends when it has seen enough."""
    command = [sys.executable, "-m", "app", "search", str(vectors), "--duplicates"]
    if out == "pipe":
        reader, writer = os.pipe()
        os.close(reader)
    else:
        writer = os.open(out, os.O_WRONLY)
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr.partition("beyond the first of each: 1\n")[2]) == (
        status,
        said,
    )


def test_a_page_needs_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    hits = [
        Hit("1", str(tmp_path / "broken.jpg"), 0.5),
        Hit("2", str(tmp_path / "gone.jpg"), 0.4),
        Hit("3", "https://example.org/a.jpg", 0.3),
    ]
    file = io.BytesIO()
    sheet.write(file, [Section("<i>words</i>", hits), Section("none")], "title", 10**6)
    text = file.getvalue().decode()
    assert "&lt;i&gt;words&lt;/i&gt;" in text
    assert text.count('class="missing"') == 3
    assert "Nothing reaches the threshold" in text
    assert 'name="viewport"' in text
    assert "light-dark(" in text
    assert not re.findall(r'(?:src|href)="(?!data:)', text)
    assert "<script" not in text


def test_a_page_of_a_large_library_says_what_it_leaves_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pictures of a hundred thousand duplicates fit neither into memory nor into a browser."""
    monkeypatch.setattr(sheet, "MOST", 6)
    monkeypatch.setattr(command, "_MOST_ALIKE", 4)
    kinds = np.repeat(np.eye(DIMS, dtype=np.float32)[:3], [10, 4, 3], axis=0)
    rows = [Row(f"id{n}", f"gone/{n}.png", "m", each) for n, each in enumerate(kinds)]
    as_parquet(tmp_path / "v.parquet", rows)
    search(tmp_path / "v.parquet", "--duplicates", "--html", tmp_path / "sheet.html")
    text = (tmp_path / "sheet.html").read_text()
    assert [text.count(f"gone/{n}.png") for n in range(17)] == [1] * 4 + [0] * 6 + [1] * 2 + [0] * 5
    assert "<p>Not shown: 6 more.</p>" in text
    assert "<p>Not shown: 2 more.</p>" in text
    assert "<p>Not shown: 1 more section with 3 pictures.</p>" in text
    said = capsys.readouterr()
    assert "sheet.html shows 6 of 17 pictures" in said.err
    assert "gone/16.png" in said.out, "the list is complete"


def test_a_page_can_be_interrupted(vectors: Path, tmp_path: Path) -> None:
    class StopAtPage(Stop):
        """Is asked to stop when the page has been begun."""

        def is_requested(self) -> bool:
            return (tmp_path / ".sheet.html.partial").exists()

    arguments = parse(
        ["search", str(vectors), "--duplicates", "--html", str(tmp_path / "sheet.html")]
    )
    with pytest.raises(Interrupted):
        command.search(arguments, StopAtPage())
    assert [path for path in tmp_path.iterdir() if "html" in path.name] == []


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((), "say what to find"),
        (("--duplicates", "words"), "--duplicates takes no words"),
        (("--duplicates", "-k", "3"), "--duplicates takes no -k"),
        (("--duplicates", "--tags", "t.txt"), "do not go together"),
        (("--tags", "t.txt"), "--tags needs -o"),
        (("--tags", "t.txt", "-o", "t.csv"), "--tags needs -o: a name that ends in .parquet"),
        (("--tags", "t.txt", "-o", "t.parquet", "--json"), "--tags takes no --json"),
        (("--tags", "t.txt", "-o", "t.parquet", "--template", "a photo"), "has no {}"),
        (("--tags", "none.txt", "-o", "t.parquet"), "none.txt: it cannot be read"),
        (("words", "-o", "t.parquet"), "a search takes no -o"),
        (("words", "--template", "a {}"), "a search takes no --template"),
    ],
)
def test_options_without_meaning_are_refused(
    options: tuple[str, ...], said: str, vectors: Path
) -> None:
    with pytest.raises(UsageError) as caught:
        search(vectors, *options)
    assert said in str(caught.value)


def test_what_is_read_is_not_overwritten(vectors: Path, tmp_path: Path) -> None:
    before = vectors.read_bytes()
    (tmp_path / "link.parquet").symlink_to(vectors)
    photo = tmp_path / "a.png"
    parts = tmp_path / "parts"
    parts.mkdir()
    shutil.copy(vectors, parts / "a.parquet")
    for options in (
        (vectors, "--tags", "t.txt", "-o", vectors),
        (vectors, "--tags", "t.txt", "-o", tmp_path / "link.parquet"),
        (vectors, "--tags", tmp_path / "t.parquet", "-o", tmp_path / "t.parquet"),
        (vectors, "--duplicates", "--html", f"{tmp_path}/./v.parquet"),
        (vectors, "--image", photo, "--html", photo),
        (parts, "--tags", "t.txt", "-o", parts / "tags.parquet"),
        (parts, "--duplicates", "--html", parts / "a.html"),
    ):
        with pytest.raises(UsageError, match="which is read: take another"):
            search(*options)
    assert vectors.read_bytes() == before
    assert [path.name for path in parts.iterdir()] == ["a.parquet"]


def test_words_may_stand_anywhere() -> None:
    arguments = parse(["search", "v.parquet", "a cat", "-k", "3", "a dog", "--image", "a.jpg", "b"])
    assert arguments.texts == ["a cat", "a dog", "b"]
    with pytest.raises(SystemExit):
        parse(["search", "v.parquet", "a cat", "-k", "3", "--kk"])


@pytest.mark.parametrize("options", [("-k", "0"), ("--threshold", "2"), ("--threshold", "nan")])
def test_numbers_out_of_range_are_refused(
    options: tuple[str, ...], vectors: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        search(vectors, "words", *options)
    assert "allowed: " in capsys.readouterr().err


def test_a_model_that_is_not_there_is_named(tmp_path: Path) -> None:
    as_parquet(tmp_path / "v.parquet", rows_of(vectors_of(9), model="mine"))
    with pytest.raises(UsageError) as caught:
        search(tmp_path / "v.parquet", "words")
    assert "'mine'" in str(caught.value)
    assert "python -m app models add" in str(caught.value)


@pytest.mark.parametrize("size", [32, 128])
def test_a_picture_is_prepared_like_those_of_the_library(
    size: int, tmp_path: Path, running: Embedder
) -> None:
    """It finds itself also among vectors that were made with --image-size."""
    photo = tmp_path / "a.png"
    photo.write_bytes(encoded(picture(300, 200)))
    job = EmbedJob(tmp_path / "v.jsonl", None if size == 128 else size, True)
    job.open(running.spec)
    one = Photo(photo, Path("a.png"))
    job.keep(one, job.work(one, running.runtime, running.spec))
    job.close(complete=True)
    found = replace(running, vectors=open_vectors(str(tmp_path / "v.jsonl")))
    matches, _ = nearest(found.vectors, found.images([photo]), 1)
    assert matches[0].scores[0] == pytest.approx(1, abs=1e-6)


def test_another_revision_or_model_is_refused(tmp_path: Path, running: Embedder) -> None:
    as_parquet(tmp_path / "v.parquet", rows_of(vectors_of(9)))
    model = replace(running, vectors=open_vectors(str(tmp_path / "v.parquet")))
    with pytest.raises(UsageError) as caught:
        model.texts(["a red circle"])
    assert "made with revision r1 of builtin-clip" in str(caught.value)
    assert "python -m app embed ... --model builtin-clip" in str(caught.value)

    result = model.runtime.embedding.texts(["a red circle"], model.spec, normalize=True)
    assert result.provenance is not None
    as_parquet(
        tmp_path / "w.parquet",
        rows_of(vectors_of(9), revision=result.provenance.revision),
    )
    same = replace(model, vectors=open_vectors(str(tmp_path / "w.parquet")))
    own: FloatArray = same.texts(["a red circle"])
    assert np.linalg.norm(own[0]) == pytest.approx(1, abs=1e-5)
    with pytest.raises(UsageError, match=f"has vectors of {DIMS} dimensions"):
        command._check_dims(same.vectors, own)
    assert same.scoring().kind == "softmax"
    with pytest.raises(BadRequest):
        same.images([tmp_path / "none.png"])
    with pytest.raises(UsageError, match="' '"):
        same.texts([" "])


def test_a_checkpoint_tells_its_scale(tmp_path: Path) -> None:
    """As SigLIP's do, in 16-bit floats."""
    import torch
    from safetensors.torch import save_file

    for kind in (torch.float32, torch.float16, torch.bfloat16):
        tensors = {"logit_scale": torch.tensor(2.0), "logit_bias": torch.tensor([-10.0])}
        file = tmp_path / str(kind)
        save_file({name: each.to(kind) for name, each in tensors.items()}, file)
        found = logits.read(file)
        assert found is not None
        assert found.scale == pytest.approx(np.exp(2))
        assert found.bias == -10
    save_file({"logit_scale": torch.tensor(2.0)}, tmp_path / "scale")
    assert logits.read(tmp_path / "scale") == Logits(float(np.exp(2)), None)
    save_file({"other": torch.tensor(2.0)}, tmp_path / "other")
    assert logits.read(tmp_path / "other") is None
