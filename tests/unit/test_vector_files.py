# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests the .jsonl and .npz files of ``embed``: they hold vectors that can be compared, only."""

from __future__ import annotations

import errno
import json
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pytest

from app.cli.jobs import EmbedJob
from app.cli.problems import Failed, UsageError
from app.library.folders import Photo
from app.library.part import MadeWith
from app.library.reading import open_vectors
from app.models.base import Provenance
from app.tasks.results import Embeddings, Timings
from config.models import ModelSpec
from config.settings import Settings


def spec() -> ModelSpec:
    return next(each for each in Settings().table().model if each.key == "builtin-clip")


def opened(out: Path, **changes: object) -> EmbedJob:
    job = EmbedJob(out, None, True)
    job.open(spec().model_copy(update=changes))
    return job


def add(job: EmbedJob, name: str, revision: str = "r1", version: int = 1) -> None:
    """Keep the vector of a photo, as made with this revision of the checkpoint."""
    made_with = Provenance(revision, "torch", "fp32", version)
    vector = np.ones(3, np.float32)
    photo = Photo(Path(name), Path(name))
    job.keep(photo, Embeddings("published", made_with, Timings(), [vector], 64, [(8, 8)]))


def test_a_changed_checkpoint_ends_the_run(tmp_path: Path) -> None:
    """As after ``download --update``: the file would have vectors that cannot be compared."""
    out = tmp_path / "v.npz"
    job = opened(out)
    add(job, "a.png")
    job.close(complete=True)
    for changed in ({"revision": "r2"}, {"version": 2}):
        again = opened(out)
        with pytest.raises(Failed) as caught:
            add(again, "b.png", **changed)
        again.close(complete=False)
        assert "made with revision r1, preprocess_version 1, not with" in str(caught.value)
        assert "choose another -o" in str(caught.value)
    same = opened(out)
    add(same, "b.png")
    same.close(complete=True)
    assert np.load(out)["paths"].tolist() == ["a.png", "b.png"]


@pytest.mark.parametrize("name", ["v.npz", "v.jsonl"])
def test_search_knows_how_vectors_were_made(tmp_path: Path, name: str) -> None:
    job = opened(tmp_path / name)
    add(job, "a.png")
    job.close(complete=True)
    assert open_vectors(str(tmp_path / name)).made_with == MadeWith("builtin-clip", "r1", 1, 128)


def test_a_model_whose_row_does_not_state_its_size(tmp_path: Path) -> None:
    job = opened(tmp_path / "v.npz", image_size=None)
    add(job, "a.png")
    job.close(complete=True)
    assert open_vectors(str(tmp_path / "v.npz")).count == 1


def test_a_full_disk_leaves_no_unfinished_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(file: BinaryIO, **_: object) -> None:
        file.write(b"the beginning")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    job = opened(tmp_path / "v.npz")
    add(job, "a.png")
    with pytest.raises(OSError, match="No space"):
        job.close(complete=True)
    job.close(complete=False)
    assert [path.name for path in tmp_path.iterdir()] == ["v.jsonl"]


def test_a_file_that_mixes_revisions_is_not_gone_on_with(tmp_path: Path) -> None:
    out = tmp_path / "v.jsonl"
    job = opened(out)
    add(job, "a.png")
    job.close(complete=True)
    row = json.loads(out.read_text())
    with out.open("a") as file:
        file.write(json.dumps({**row, "path": "b.png", "revision": "r2"}) + "\n")
    with pytest.raises(UsageError, match=r"revision r1, .* not with revision r2"):
        opened(out)


def test_a_file_that_does_not_tell_the_revision_stays_readable(tmp_path: Path) -> None:
    """Early versions did not write it."""
    out, rows = tmp_path / "v.npz", tmp_path / "v.jsonl"
    job = opened(out)
    add(job, "a.png")
    job.close(complete=True)
    row = json.loads(rows.read_text())
    del row["revision"], row["preprocess_version"]
    rows.write_text(json.dumps(row) + "\n")
    again = opened(out)
    with pytest.raises(Failed, match="made with revision unknown"):
        add(again, "b.png")
    again.close(complete=True)
    assert open_vectors(str(out)).made_with == MadeWith("builtin-clip", image_size=128)


@pytest.mark.parametrize("text", ['{"path": "a.png", "id": 1}', '{"id": 1}', "notes"])
def test_a_file_of_another_program_is_not_overwritten(tmp_path: Path, text: str) -> None:
    """Not even one without a line break, which could be taken for a row of a killed run."""
    out = tmp_path / "v.jsonl"
    out.write_text(text)
    with pytest.raises(UsageError, match="line 1 is no row of vectors"):
        opened(out)
    assert out.read_text() == text


@pytest.mark.parametrize("left", ['{"pa', '{"path": "a}', '{"path": "a.png", "model'])
def test_a_first_row_that_was_interrupted_is_made_again(tmp_path: Path, left: str) -> None:
    out = tmp_path / "v.jsonl"
    out.write_text(left)
    job = opened(out)
    add(job, "a.png")
    job.close(complete=True)
    assert open_vectors(str(out)).count == 1


def test_a_last_line_without_its_end_is_searched_if_it_is_whole(tmp_path: Path) -> None:
    """Other programs write no line break at the end of a file."""
    out = tmp_path / "v.jsonl"
    job = opened(out)
    add(job, "a.png")
    add(job, "b.png")
    job.close(complete=True)
    whole = out.read_bytes()
    out.write_bytes(whole[:-1])
    assert open_vectors(str(out)).count == 2
    out.write_bytes(whole[:-2])
    assert open_vectors(str(out)).count == 1


def test_a_picture_with_two_rows_is_once_in_the_arrays(tmp_path: Path) -> None:
    """As after two files of rows were put together by hand."""
    out, rows = tmp_path / "v.npz", tmp_path / "v.jsonl"
    job = opened(out)
    add(job, "a.png")
    add(job, "b.png")
    job.close(complete=True)
    rows.write_bytes(rows.read_bytes() * 2)
    opened(out).close(complete=True)
    found = np.load(out)
    assert found["paths"].tolist() == ["a.png", "b.png"]
    assert found["embeddings"].tolist() == [[1, 1, 1]] * 2
