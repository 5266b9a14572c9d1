# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests ``python -m app search`` in this process: what it prints, its page, and what it refuses."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from app.cli import queries as querying
from app.cli import search as command
from app.cli.arguments import parse
from app.cli.problems import UsageError
from app.cli.session import Stop
from app.cli.sheet import Hit, Section, page
from app.errors import BadRequest
from app.library.nearest import FloatArray
from app.library.reading import open_vectors
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
    assert "1 groups; 1 pictures could go" in said.err
    text = (tmp_path / "sheet.html").read_text()
    assert "<b>&amp;.png" not in text
    assert "&lt;b&gt;&amp;amp;.png" in text
    assert text.count('src="data:image/jpeg;base64,') == 2

    search(vectors, "--duplicates", "--json", "--threshold", 0.9999)
    answer = json.loads(capsys.readouterr().out)
    assert (answer["searched"], answer["failed"], answer["model"]) == (24, 5, "builtin-clip")
    assert [each["id"] for each in answer["groups"][0]["pictures"]] == ["id3", "id5"]


def test_a_page_needs_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    hits = [
        Hit("1", str(tmp_path / "broken.jpg"), 0.5),
        Hit("2", str(tmp_path / "gone.jpg"), 0.4),
        Hit("3", "https://example.org/a.jpg", 0.3),
    ]
    text = page([Section("<i>words</i>", hits), Section("none")], "title", 10**6)
    assert "&lt;i&gt;words&lt;/i&gt;" in text
    assert text.count('class="missing"') == 3
    assert "Nothing reaches the threshold" in text
    assert 'name="viewport"' in text
    assert "light-dark(" in text
    assert not re.findall(r'(?:src|href)="(?!data:)', text)
    assert "<script" not in text


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


def test_another_revision_or_model_is_refused(
    tmp_path: Path, built_in: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One runtime serves all of this test, because each start takes seconds."""
    monkeypatch.setenv("HF_HUB_CACHE", str(built_in))
    settings = Settings(hf_hub_cache=built_in, hf_hub_offline=True)
    as_parquet(tmp_path / "v.parquet", rows_of(vectors_of(9)))
    found = open_vectors(str(tmp_path / "v.parquet"))
    with querying.embedder(found, settings, Stop(), images=False) as model:
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
