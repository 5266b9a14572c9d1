# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests sources, ids and shards of libraries."""

from __future__ import annotations

import json
import pickle
import tarfile
import tracemalloc
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from app.errors import BadRequest, TwinlensError
from app.library import ids
from app.library.ids import Ids
from app.library.map_names import map_name
from app.library.shards import Shard
from app.library.sources import Sources

# -- sources -----------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "p" / "below").mkdir(parents=True)
    for name in ("p/a.png", "p/below/b.jpg", "p/.hidden.png", "p/notes.txt"):
        (tmp_path / name).write_bytes(name.encode())
    with tarfile.open("t.tar", "w") as archive:
        archive.add("p")
    return tmp_path


def listed(*sources: str, **options: Any) -> list[tuple[str, str]]:
    return [(item.id, item.path) for item in Sources(sources, **options).items()]


def test_folders_patterns_and_tars(folder: Path) -> None:
    found = [("p/a.png",) * 2, ("p/notes.txt",) * 2, ("p/below/b.jpg",) * 2]
    assert listed("p") == found
    assert sorted(listed("p/**/*.jpg", "p/*.png")) == sorted([found[0], found[2]])
    assert listed(str(folder / "p/a.png")) == [(str(folder / "p/a.png"),) * 2]
    inside = ["t.tar/p/.hidden.png", "t.tar/p/a.png", "t.tar/p/below/b.jpg"]
    assert sorted(id for id, _ in listed("t.tar")) == inside
    assert sorted(id for id, _ in listed("*.tar")) == inside
    for item in Sources(["t.tar"]).items():
        travelled = pickle.loads(pickle.dumps(item))
        assert travelled.open().read() == item.id.removeprefix("t.tar/").encode()


def test_patterns_leave_out_what_a_nas_keeps(folder: Path) -> None:
    (folder / "@eaDir" / "@eaDir").mkdir(parents=True)
    for name in ("@eaDir/c.png", "@eaDir/@eaDir/d.png"):
        (folder / name).touch()
    sources = Sources(["**/*.png"])
    assert [item.id for item in sources.items()] == ["p/a.png"]
    assert sources.left_out == {"@eaDir": 2}
    assert [id for id, _ in listed("@eaDir/**/*.png")] == ["@eaDir/c.png"], "named by the user"
    assert len(listed("**/*.png", everything=True)) == 4


@pytest.mark.parametrize("damage", [b"x" * 512, b"x" * 100])
def test_a_damaged_tar_is_told(folder: Path, damage: bytes) -> None:
    whole = (folder / "t.tar").read_bytes()
    with tarfile.open("t.tar") as archive:
        last = archive.getmembers()[-1].offset
    rest = whole[last + len(damage) :] if len(damage) == 512 else b""
    (folder / "t.tar").write_bytes(whole[:last] + damage + rest)
    with pytest.raises(BadRequest, match=f"t.tar: it is damaged at byte {last}"):
        listed("t.tar")


def test_objects_below_a_prefix(folder: Path) -> None:
    address = (folder / "p").as_uri()
    items = list(Sources([address]).items())
    assert sorted(item.id for item in items) == [f"{address}/a.png", f"{address}/below/b.jpg"]
    for item in items:
        with item.open() as file:
            assert file.read().decode() in item.id
    assert sorted(listed(f"{address}/*.png")) == [(f"{address}/a.png",) * 2]
    tar = (folder / "t.tar").as_uri()
    assert f"{tar}/p/a.png" in dict(listed(tar))
    with pytest.raises(BadRequest, match="there is no file"):
        listed(f"{address}/nothing/")


def test_manifests(folder: Path) -> None:
    lists = folder / "lists"
    lists.mkdir()
    (lists / "a.csv").write_text("id,path\n1,../p/a.png\n2,/b.png\n,c.png\n4,\n")
    (lists / "b.jsonl").write_text(
        '{"id": 1, "url": "https://example.org/a.png"}\nno json\n{"id": "\\ud800", "url": "s3://b/c"}\n'
    )
    table = pa.table({"id": [7, 8], "bytes": [b"seven", None]})
    pq.write_table(table, lists / "c.parquet")
    assert listed("lists/a.csv") == [
        ("1", "lists/../p/a.png"),
        ("2", "/b.png"),
        ("lists/a.csv#3", "lists/a.csv#3"),
        ("4", "lists/a.csv#4"),
    ]
    assert listed("lists/b.jsonl") == [
        ("1", "https://example.org/a.png"),
        ("lists/b.jsonl#2", "lists/b.jsonl#2"),
        ("\\ud800", "s3://b/c"),
    ]
    items = list(Sources(["lists/a.csv", "lists/b.jsonl", "lists/c.parquet"]).items())
    said = {}
    for item in pickle.loads(pickle.dumps(items)):
        if item.path.startswith("s3:"):
            continue
        try:
            with item.open() as file:
                said[item.id] = file.read()
        except TwinlensError as error:
            said[item.id] = error.message
    assert said["7"] == b"seven"
    assert said["8"] == "The row of the manifest has neither path nor url"
    assert said["4"] == said["8"]
    assert said["lists/a.csv#3"] == "The row of the manifest has no id"
    assert "ALLOW_REMOTE_IMAGE_URLS" in said["1"]


def test_a_row_of_a_manifest_reaches_no_host_of_its_choice(folder: Path) -> None:
    rows = (
        '{"id": 1, "path": "ftp://192.168.1.1/a.png"}\n{"id": 2, "path": "github://a:b@c/d.png"}\n'
    )
    (folder / "odd.jsonl").write_text(rows)
    for item in Sources(["odd.jsonl"]).items():
        with pytest.raises(BadRequest, match="are not opened for rows of manifests"):
            item.open()


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.csv", "name,path\n", "the column id and one of path, url; this one has: name, path"),
        ("a.csv", 'id,path\n1,a.png\n\n2,"b.png\n3,c.png\n', "the row that begins in line 4 has"),
        ("b.csv", 'id,path\n1,"a\nb.png"\n2,"b"c.png\n', "the row that begins in line 4 has"),
        ("a.jsonl", '{"id": 1, "bytes": "x"}', "one of path, url; this one has: bytes, id"),
        ("a.parquet", "no parquet", "It cannot be read"),
        ("a.tar", "no tar", "it cannot be read"),
    ],
)
def test_what_is_no_source_is_told(folder: Path, name: str, content: str, said: str) -> None:
    (folder / name).write_text(content)
    with pytest.raises(BadRequest) as caught:
        listed(name)
    assert caught.value.message.startswith(f"{name}: ")
    assert said in caught.value.message


@pytest.mark.parametrize("name", ["list.csv", "list.jsonl", "list.parquet"])
def test_a_long_manifest_takes_no_more_memory(tmp_path: Path, name: str) -> None:
    many = 20_000
    path = tmp_path / name
    if name == "list.csv":
        path.write_text("id,path\n" + "".join(f"{n},photos/{n}.jpg\n" for n in range(many)))
    elif name == "list.jsonl":
        lines = (json.dumps({"id": n, "path": f"photos/{n}.jpg"}) for n in range(many))
        path.write_text("\n".join(lines))
    else:
        numbers = [str(n) for n in range(many)]
        pq.write_table(pa.table({"id": numbers, "path": numbers}), path)
    items = Sources([str(path)]).items()
    next(items)
    tracemalloc.start()
    try:
        assert sum(1 for _ in items) == many - 1
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 6_000_000, "all items would take more"


# -- ids, names and shards ---------------------------------------------------------------------


def test_many_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ids, "_CACHE_KIB", 1)  # the rest is on disk
    found = Ids()
    assert all(found.add(f"a{number}") for number in range(10_000))
    assert not any(found.add(f"a{number}") for number in range(10_000))
    assert len(found) == 10_000
    assert "a7" in found
    assert "b7" not in found


def test_shards_share_all_ids_for_good() -> None:
    names = [f"photos/{number}.jpg" for number in range(3000)]
    holders = [[shard for shard in range(3) if Shard(shard, 3).holds(name)] for name in names]
    assert {len(each) for each in holders} == {1}
    assert all(900 < count < 1100 for count in Counter(each[0] for each in holders).values())
    # A new version must not sort ids into other shards, because runs of the old one may go on.
    assert [number for number in range(12) if Shard(0, 2).holds(names[number])] == [3, 4, 7, 9, 11]


@pytest.mark.parametrize("text", ["", "1", "2/2", "-1/2", "1/0", "a/b", "0/1000000", "1/2/3"])
def test_no_shards(text: str) -> None:
    with pytest.raises(BadRequest, match="such as 0/4 to 3/4"):
        Shard.parse(text)


def test_each_id_has_a_file_name_of_its_own(tmp_path: Path) -> None:
    names = ["a/b.jpg", "/a/b.jpg", "a//b.jpg", "a%2Fb.jpg", "s3://a/b.jpg", "s3:/a/b.jpg", "../a"]
    names += ["..", ".", "a/../b", "é?.jpg", "x" * 300, "x" * 301, "a\nb", "a\\b", "//", "/", "a/"]
    found = [map_name(name) for name in names]
    assert len(set(found)) == len(names)
    assert found[0] == "a/b.jpg"
    assert found[4] == "s3%3A/%2Fa/b.jpg"
    for name in found:
        path = (tmp_path / f"{name}.png").resolve()
        assert tmp_path in path.parents
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
