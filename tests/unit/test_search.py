# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests search in vectors: exact in every format, and what cannot be compared is refused."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray

from app.errors import BadRequest
from app.library import groups as grouping
from app.library import labels, tables
from app.library.groups import groups
from app.library.nearest import nearest
from app.library.reading import open_vectors
from app.library.rows import Row, schema, table
from app.library.scoring import Scoring

DIMS, COUNT, FAILED = 12, 700, 7  # every seventh row failed
MODEL = "builtin-clip"

Vectors = NDArray[np.float32]


def vectors_of(count: int = COUNT) -> Vectors:
    """Vectors of different lengths, which float16 can hold."""
    random = np.random.default_rng(7)
    vectors = random.standard_normal((count, DIMS)) * random.uniform(0.1, 9, (count, 1))
    return vectors.astype(np.float16).astype(np.float32)


def rows_of(vectors: Vectors, **changes: Any) -> list[Row]:
    made_with: dict[str, Any] = {"model": MODEL, "revision": "r1", "preprocess_version": 1}
    return [
        Row(
            f"id{number}",
            f"photos/{number}.jpg",
            embedding=None if number % FAILED == 0 else vector,
            error="It is broken" if number % FAILED == 0 else None,
            **made_with | changes,
        )
        for number, vector in enumerate(vectors)
    ]


def as_parquet(path: Path, rows: Sequence[Row], image_size: int = 64, **options: Any) -> None:
    columns = schema(DIMS, model=MODEL, normalized=False, image_size=image_size)
    options = tables.options(columns) | options
    pq.write_table(table(rows, columns), path, row_group_size=150, **options)


def plain(path: Path, rows: Sequence[Row]) -> str:
    as_parquet(path / "v.parquet", rows, data_page_size=1000)  # vectors lie across two pages
    return "v.parquet"


def compressed(path: Path, rows: Sequence[Row]) -> str:
    as_parquet(path / "v.parquet", rows, compression="zstd", data_page_size=1000)
    return "v.parquet"


def newer_pages(path: Path, rows: Sequence[Row]) -> str:
    as_parquet(path / "v.parquet", rows, compression="snappy", data_page_version="2.0")
    return "v.parquet"


def defaults_of_pyarrow(path: Path, rows: Sequence[Row]) -> str:
    as_parquet(path / "v.parquet", rows, use_dictionary=True, compression="snappy")
    return "v.parquet"


def of_another_program(path: Path, rows: Sequence[Row]) -> str:
    cells = [
        {
            "path": row.path,
            "model": row.model,
            "embedding": None if row.embedding is None else row.embedding.tolist(),
        }
        for row in rows
    ]
    pq.write_table(pa.Table.from_pylist(cells), path / "v.parquet")
    return "v.parquet"


def folder(path: Path, rows: Sequence[Row]) -> str:
    (path / "parts").mkdir()
    for number in range(0, len(rows), 100):
        as_parquet(path / "parts" / f"part-{number}.parquet", rows[number : number + 100])
    (path / "parts" / ".part-9.parquet.partial").write_bytes(b"unfinished")
    return "parts"


def json_lines(path: Path, rows: Sequence[Row]) -> str:
    with (path / "v.jsonl").open("w") as file:
        for row in rows:
            if row.embedding is not None:
                head = {"path": row.path, "model": row.model, "revision": "r1", "dims": DIMS}
                line = {**head, "preprocess_version": 1, "embedding": row.embedding.tolist()}
                file.write(json.dumps(line) + "\n")
        file.write('{"path": "photos/7')  # embed was killed here
    return "v.jsonl"


def arrays(path: Path, rows: Sequence[Row]) -> str:
    fine = [row for row in rows if row.embedding is not None]
    np.savez(
        path / "v.npz",
        paths=np.array([row.path for row in fine]),
        embeddings=np.stack([row.embedding for row in fine if row.embedding is not None]),
        model=np.array(MODEL),
    )
    return "v.npz"


FORMATS: tuple[Callable[[Path, Sequence[Row]], str], ...] = (
    plain,
    compressed,
    newer_pages,
    defaults_of_pyarrow,
    of_another_program,
    folder,
    json_lines,
    arrays,
)


@pytest.mark.parametrize("write", FORMATS, ids=lambda each: each.__name__)
def test_search_is_exact(write: Callable[[Path, Sequence[Row]], str], tmp_path: Path) -> None:
    vectors = vectors_of()
    found = open_vectors(str(tmp_path / write(tmp_path, rows_of(vectors))))
    fine = [number for number in range(COUNT) if number % FAILED]
    assert found.count == len(fine)
    keeps_failed_rows = write not in (json_lines, arrays)
    assert found.failed == (COUNT - len(fine) if keeps_failed_rows else 0)

    queries = np.random.default_rng(3).standard_normal((3, DIMS), np.float32)
    matches, unusable = nearest(found, queries, 9)
    assert unusable == 0
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    cosines = queries / np.linalg.norm(queries, axis=1, keepdims=True) @ unit[fine].T
    for own, match in zip(cosines, matches, strict=True):
        order = np.argsort(-own)[:9]
        assert [path for _, path in found.names(match.rows)] == [
            f"photos/{fine[number]}.jpg" for number in order
        ]
        assert np.allclose(match.scores, own[order], atol=1e-5)
        above = nearest(found, queries, COUNT, 0.5)[0]
    assert [len(match.rows) for match in above] == [int((own >= 0.5).sum()) for own in cosines]


def test_pages_of_our_own_files_are_read_without_pyarrow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A million vectors take seconds longer with it."""
    monkeypatch.setattr("app.library.parquet.ParquetPart._by_pyarrow", None)
    for write in (plain, compressed, newer_pages):
        found = open_vectors(str(tmp_path / write(tmp_path, rows_of(vectors_of()))))
        assert sum(len(block.rows) for chunk in found.chunks() for block in chunk()) == found.count


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"model": "ViT-B-16"}, "ViT-B-16 of revision r1"),
        ({"revision": "r2"}, "builtin-clip of revision r2"),
        ({"preprocess_version": 2}, "preprocess version 2"),
    ],
)
def test_mixed_vectors_are_refused(change: dict[str, Any], named: str, tmp_path: Path) -> None:
    (tmp_path / "parts").mkdir()
    as_parquet(tmp_path / "parts" / "a.parquet", rows_of(vectors_of(20)))
    as_parquet(tmp_path / "parts" / "b.parquet", rows_of(vectors_of(10), **change))
    with pytest.raises(BadRequest) as caught:
        open_vectors(str(tmp_path / "parts"))
    assert named in caught.value.message
    assert "--model builtin-clip" in caught.value.message


def test_mixed_image_sizes_are_refused(tmp_path: Path) -> None:
    """Of embed --image-size: small copies of pictures look different to the model."""
    (tmp_path / "parts").mkdir()
    as_parquet(tmp_path / "parts" / "a.parquet", rows_of(vectors_of(20)))
    as_parquet(tmp_path / "parts" / "b.parquet", rows_of(vectors_of(10)), image_size=512)
    with pytest.raises(BadRequest, match=r"image size 64 .* image size 512 .* in the same way"):
        open_vectors(str(tmp_path / "parts"))


def test_an_id_counts_once(tmp_path: Path) -> None:
    """A picture that failed, and was done later, did not fail."""
    rows = rows_of(vectors_of(20))
    later = replace(rows[1], id="id0", path="photos/0.jpg", embedding=np.ones(DIMS, np.float32))
    (tmp_path / "parts").mkdir()
    as_parquet(tmp_path / "parts" / "a.parquet", rows)
    as_parquet(tmp_path / "parts" / "b.parquet", [*rows[1:5], later])
    found = open_vectors(str(tmp_path / "parts"))
    assert (found.count, found.failed, found.repeated) == (18, 2, 4)
    matches, _ = nearest(found, np.ones((1, DIMS), np.float32), 100)
    paths = [path for _, path in found.names(matches[0].rows)]
    assert paths[0] == "photos/0.jpg"
    assert len(paths) == len(set(paths)) == 18


@pytest.mark.parametrize("name", ["v.parquet", "v.jsonl"])
def test_a_missing_id_is_the_path(name: str, tmp_path: Path) -> None:
    """Rows of other programs whose ids are missing are not all the same picture."""
    cells = [
        {"id": each, "path": f"{number}.jpg", "model": MODEL, "embedding": own.tolist()}
        for number, (each, own) in enumerate(zip([None, 7, None], vectors_of(3), strict=True))
    ]
    pq.write_table(pa.Table.from_pylist(cells), tmp_path / "v.parquet")
    (tmp_path / "v.jsonl").write_text("".join(json.dumps(cell) + "\n" for cell in cells))
    found = open_vectors(str(tmp_path / name))
    assert (found.count, found.repeated) == (3, 0)
    expected = [("0.jpg", "0.jpg"), ("7", "1.jpg"), ("2.jpg", "2.jpg")]
    assert found.names(np.arange(3)) == expected


def test_vectors_without_direction_are_counted(tmp_path: Path) -> None:
    vectors = vectors_of(30)
    vectors[3] = 0
    as_parquet(tmp_path / "v.parquet", rows_of(vectors))
    found = open_vectors(str(tmp_path / "v.parquet"))
    matches, unusable = nearest(found, vectors[4:5], 100)
    assert unusable == 1
    assert len(matches[0].rows) == found.count - 1
    assert groups(found, 0.99)[1] == 1
    best = labels.label(found, np.eye(DIMS, dtype=np.float32)[:2], Scoring("cosine"), 2)
    out = tmp_path / "tags.parquet"
    written = labels.write(out, found, ["a", "b"], best, Scoring("cosine"), None, lambda: None)
    assert written == (2 * (found.count - 1), 1)


def test_files_that_cannot_be_searched_say_why(tmp_path: Path) -> None:
    as_parquet(tmp_path / "v.parquet", rows_of(vectors_of()))
    whole = (tmp_path / "v.parquet").read_bytes()
    (tmp_path / "cut.parquet").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "new.parquet.parts").mkdir()
    (tmp_path / "line.jsonl").write_text('{"path": "a"}\n')
    (tmp_path / "name.jsonl").write_text('{"path": null, "model": "m", "embedding": [1]}\n')
    as_parquet(tmp_path / "failed.parquet", rows_of(vectors_of(1)))
    for name, why in {
        "cut.parquet": "no Parquet file, or damaged",
        "none.parquet": "it does not exist",
        "new.parquet": "not finished. Run the same embed again",
        "line.jsonl": "line 1 is no row of vectors",
        "name.jsonl": "line 1 is no row of vectors",
        "new.parquet.parts": "a folder without .parquet files",
        "failed.parquet": "only 1 rows that failed",
    }.items():
        with pytest.raises(BadRequest) as caught:
            open_vectors(str(tmp_path / name))
        assert why in caught.value.message
    with pytest.raises(BadRequest) as caught:
        open_vectors("s3://bucket/v.parquet")
    assert "copy it to this machine" in caught.value.message


def test_a_file_that_is_cut_off_meanwhile_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "v.parquet"
    as_parquet(file, rows_of(vectors_of()))
    found = open_vectors(str(file))
    file.write_bytes(file.read_bytes()[:2000])
    with pytest.raises(BadRequest) as caught:
        nearest(found, np.ones((1, DIMS), np.float32), 5)
    assert "damaged, or was replaced" in caught.value.message


def test_groups_are_those_of_all_pairs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grouping, "_TILE", 32)
    monkeypatch.setattr(grouping, "_KEPT", 2)
    random = np.random.default_rng(11)
    ideas = random.standard_normal((60, DIMS))
    noise = 0.12 * random.standard_normal((300, DIMS))
    vectors = (ideas[random.integers(0, 60, 300)] + noise).astype(np.float16).astype(np.float32)
    as_parquet(tmp_path / "v.parquet", rows_of(vectors))
    found = open_vectors(str(tmp_path / "v.parquet"))

    fine = [number for number in range(300) if number % FAILED]
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    near = unit @ unit.T >= 0.97
    left, expected = set(fine), set()
    while left:
        group, edge = set(), {left.pop()}
        while edge:
            group |= edge
            edge = {other for one in edge for other in left if near[one, other]}
            left -= edge
        if len(group) > 1:
            expected.add(frozenset(group))
    parts: list[float] = []
    result, unusable = groups(found, 0.97, parts.append)
    assert unusable == 0
    assert {frozenset(group.rows.tolist()) for group in result} == expected
    assert len(expected) > 5
    assert [len(group.rows) for group in result] == sorted(map(len, expected), reverse=True)
    assert all((group.scores >= 0.97).all() for group in result)
    assert parts == sorted(parts)
    assert parts[-1] == 1


def test_equal_pictures_reach_a_threshold_of_1(tmp_path: Path) -> None:
    """Their cosine may be a little below 1 in float32."""
    vectors = vectors_of(40)
    vectors[20:] = vectors[:20]
    rows = [
        replace(row, embedding=own, error=None)
        for row, own in zip(rows_of(vectors), vectors, strict=True)
    ]
    as_parquet(tmp_path / "v.parquet", rows)
    found = open_vectors(str(tmp_path / "v.parquet"))
    pairs, _ = groups(found, 1.0)
    assert [group.rows.tolist() for group in pairs] == [[row, row + 20] for row in range(20)]
    matches, _ = nearest(found, vectors[:20], 5, 1.0)
    assert [sorted(match.rows) for match in matches] == [[row, row + 20] for row in range(20)]


def test_labels_are_scored_as_the_model_was_trained(tmp_path: Path) -> None:
    as_parquet(tmp_path / "v.parquet", rows_of(vectors_of(40)))
    found = open_vectors(str(tmp_path / "v.parquet"))
    names = np.eye(DIMS, dtype=np.float32)[:4]
    tags = ["a", "b", "c", "d"]
    for scoring in (Scoring("softmax", 20), Scoring("sigmoid", 20, -3), Scoring("cosine")):
        out = tmp_path / f"{scoring.kind}.parquet"
        best = labels.label(found, names, scoring, 4)
        count, _ = labels.write(out, found, tags, best, scoring, None, lambda: None)
        written = pq.read_table(out)
        assert count == len(written) == 4 * found.count
        assert written.schema.metadata[b"twinlens.score"].decode() == scoring.kind
        first = [row for row in written.to_pylist() if row["path"] == "photos/1.jpg"]
        assert [row["rank"] for row in first] == [1, 2, 3, 4]
        unit = vectors_of(40)[1] / np.linalg.norm(vectors_of(40)[1])
        for row in first:
            cosine = unit[tags.index(row["tag"])]
            assert row["cosine"] == pytest.approx(cosine, abs=1e-5)
            if scoring.kind == "sigmoid":
                assert row["score"] == pytest.approx(1 / (1 + np.exp(3 - 20 * cosine)), rel=1e-3)
        if scoring.kind == "softmax":
            assert sum(row["score"] for row in first) == pytest.approx(1)
    best = labels.label(found, names, Scoring("softmax", 20), 4)
    labels.write(out, found, tags, best, Scoring("softmax", 20), 0.5, lambda: None)
    assert min(pq.read_table(out)["score"].to_pylist()) >= 0.5
    assert {path.suffix for path in tmp_path.iterdir()} == {".parquet"}, "no unfinished file"
