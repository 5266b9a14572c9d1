# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests sources, ids and shards of libraries."""

from __future__ import annotations

import glob
import json
import os
import pickle
import tarfile
import tracemalloc
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from app.errors import BadRequest, TwinlensError
from app.library import tables
from app.library.ids import Ids
from app.library.sources import Sources
from app.library.store import Store

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
    assert sources.left_out == {"@eaDir": 1}, "nothing in it is looked at"
    assert [id for id, _ in listed("@eaDir/**/*.png")] == ["@eaDir/c.png"], "named by the user"
    assert len(listed("**/*.png", everything=True)) == 4


@pytest.mark.parametrize(
    "pattern",
    [
        *("p/*", "p/**", "**", "*/*.png", "**/*.png", "**/below/**/*", "p/[ab].png", "p/?.png"),
        *("p/.*", "**/.hidden.*", "p/**/**/b.jpg", "p/*/", "p/b*", "./p/*.png", "p/**.png", "*"),
        *("{here}/**/*.jpg", "{here}/p/a*"),
    ],
)
@pytest.mark.parametrize("everything", [False, True])
def test_patterns_mean_what_they_mean_to_glob(folder: Path, pattern: str, everything: bool) -> None:
    pattern = pattern.format(here=folder)
    (folder / "t.tar").unlink()
    (folder / "p" / ".cache").mkdir()
    (folder / "p" / ".cache" / "c.png").touch()
    globbed = glob.glob(pattern, recursive=True, include_hidden=everything)  # noqa: PTH207
    expected = {str(Path(name)) for name in globbed if Path(name).is_file()}
    if expected:
        found = [id for id, _ in listed(pattern, everything=everything)]
        assert sorted(found) == sorted(expected)
    else:
        with pytest.raises(BadRequest, match="no file matches"):
            listed(pattern, everything=everything)


def test_patterns_report_folders_that_cannot_be_read(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    access = os.access
    # Not by chmod, which does not keep out root.
    monkeypatch.setattr(
        os, "access", lambda path, mode: "below" not in str(path) and access(path, mode)
    )
    sources = Sources(["p/**/*.png"])
    assert [item.id for item in sources.items()] == ["p/a.png"]
    assert [str(failure) for failure in sources.failures] == [
        "p/below: It cannot be read (Permission denied)"
    ]
    sources = Sources(["p/below/*.jpg"])
    assert list(sources.items()) == []
    assert len(sources.failures) == 1
    sources = Sources(["p/*.png"])
    assert len(list(sources.items())) == 1
    assert not sources.failures, "the pattern leads nowhere below"


def test_patterns_do_not_follow_linked_folders(folder: Path) -> None:
    (folder / "p" / "loop").symlink_to("..")
    (folder / "p" / "c.png").symlink_to("a.png")
    assert [id for id, _ in listed("**/*.png")] == ["p/a.png", "p/c.png"]
    assert [id for id, _ in listed("p/loop/*/a.png")] == ["p/loop/p/a.png"], "named by the user"


@pytest.mark.parametrize("source", ["p/**/*.png", "{p}", "{p}/", "{p}/**/*.png"])
@pytest.mark.parametrize("out", ["p/maps/", "{p}/maps"])
def test_what_a_command_writes_is_not_its_input(folder: Path, source: str, out: str) -> None:
    """Also when input, output or both are addresses rather than paths of this machine."""
    (folder / "p" / "maps" / "p").mkdir(parents=True)
    (folder / "p" / "maps" / "p" / "a.png.png").touch()
    (folder / "p" / "maps2").mkdir()
    (folder / "p" / "maps2" / "c.png").touch()
    source, out = (each.format(p=(folder / "p").as_uri()) for each in (source, out))
    found = {id.rpartition("/")[2] for id, _ in listed(source, own=[out])}
    assert found - {"b.jpg"} == {"a.png", "c.png"}
    with pytest.raises(BadRequest, match="cannot be both input and output"):
        Sources([source], own=[source.partition("/*")[0]]).check()
    # A folder within the output may be given: the user may write beside the photos.
    assert listed(source, own=["."]) == listed(source)


def test_a_bucket_may_hold_pictures_and_maps(folder: Path) -> None:
    store = fsspec.filesystem("memory")
    for name in ("/b/photos/a.png", "/b/photos/maps/a.png.png", "/b/photos/maps2/c.png"):
        store.pipe_file(name, b"")
    found = ["memory://b/photos/a.png", "memory://b/photos/maps2/c.png"]
    for source in ("memory://b/photos/", "memory://b/photos/**/*.png"):
        items = listed(source, own=["memory://b/photos/maps/"])
        assert sorted(id for id, _ in items) == found
    with pytest.raises(BadRequest, match="cannot be both input and output"):
        Sources(["memory://b/photos/"], own=["memory://b/photos"]).check()


@pytest.mark.parametrize("damage", [b"x" * 512, b"x" * 100])
def test_a_damaged_tar_is_told(folder: Path, damage: bytes) -> None:
    whole = (folder / "t.tar").read_bytes()
    with tarfile.open("t.tar") as archive:
        last = archive.getmembers()[-1].offset
    rest = whole[last + len(damage) :] if len(damage) == 512 else b""
    (folder / "t.tar").write_bytes(whole[:last] + damage + rest)
    with pytest.raises(BadRequest, match=f"t.tar: it is damaged at byte {last}"):
        listed("t.tar")


def test_links_in_a_tar_are_the_pictures_that_they_link_to(folder: Path) -> None:
    """tar writes a file that has two names once, and the second name as a link."""
    os.link("p/a.png", "p/below/same.png")
    Path("p/below/link.png").symlink_to("../a.png")
    Path("p/below/gone.png").symlink_to("/gone.png")
    with tarfile.open("links.tar", "w") as archive:
        archive.add("p/a.png")
        archive.add("p/below", "./p/below")
    items = {item.id.rpartition("/")[2]: item for item in Sources(["links.tar"]).items()}
    assert sorted(items) == ["a.png", "b.jpg", "gone.png", "link.png", "same.png"]
    for name in ("a.png", "link.png", "same.png"):
        assert items[name].open().read() == b"p/a.png"
    with pytest.raises(BadRequest, match=r"a link to /gone\.png, which the tar file does not have"):
        items["gone.png"].open()


def test_tars_that_were_put_together(folder: Path) -> None:
    with tarfile.open("u.tar", "w") as archive:
        archive.add("p/a.png", "u.png")
    whole = (folder / "t.tar").read_bytes()
    (folder / "both.tar").write_bytes(whole + (folder / "u.tar").read_bytes())
    items = {item.id: item for item in Sources(["both.tar"]).items()}
    assert len(items) == 4
    assert items["both.tar/u.png"].open().read() == b"p/a.png"
    (folder / "more.tar").write_bytes(whole + b"no tar file" * 99)
    assert len(listed("more.tar")) == 3


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
        '{"id": 1, "url": "https://example.org/a.png"}\n\nno json\n'
        '{"id": "\\ud800", "url": "s3://b/c"}\n'
    )
    table = pa.table({"id": [7, 8], "bytes": [b"seven", None]})
    pq.write_table(table, lists / "c.parquet")
    assert listed("lists/a.csv") == [
        ("1", "lists/../p/a.png"),
        ("2", "/b.png"),
        ("lists/a.csv#4", "lists/a.csv#4"),  # its line in the file
        ("4", "lists/a.csv#5"),
    ]
    assert listed("lists/b.jsonl") == [
        ("1", "https://example.org/a.png"),
        ("lists/b.jsonl#3", "lists/b.jsonl#3"),
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
    assert said["lists/a.csv#4"] == "The row of the manifest has no id"
    assert "ALLOW_REMOTE_IMAGE_URLS" in said["1"]


def test_names_in_manifests_that_are_not_utf_8(folder: Path) -> None:
    """Each keeps its own id, the same as that of the file in a folder, and the file is found."""
    for name in (b"p/\xe8.png", b"p/\xe9.png"):
        Path(os.fsdecode(name)).write_bytes(name)
    (folder / "latin.csv").write_bytes(b"id,path\n\xe8,p/\xe8.png\n\xe9,p/\xe9.png\n")
    found = {}
    for item in Sources(["latin.csv"]).items():
        with item.open() as file:
            found[item.id] = file.read()
    assert found == {"\\udce8": b"p/\xe8.png", "\\udce9": b"p/\xe9.png"}
    odd = os.fsdecode(b"\xff.csv")
    Path(odd).write_bytes(b"id,path\n,p/a.png\n")
    assert listed(odd) == [("\\udcff.csv#2",) * 2]
    list(map(Ids().add, dict(listed(odd))))


def test_texts_that_parquet_calls_bytes(folder: Path) -> None:
    """As some programs write them."""
    table = pa.table({"id": [b"1", "\xfc".encode()], "path": [b"p/a.png", b"p/below/b.jpg"]})
    pq.write_table(table, folder / "a.parquet")
    assert listed("a.parquet") == [("1", "p/a.png"), ("\xfc", "p/below/b.jpg")]


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


def most_memory(things: Iterable[object]) -> int:
    """Bytes that Python and pyarrow hold at most while all things come."""
    before, most = pa.total_allocated_bytes(), 0
    tracemalloc.start()
    try:
        for _ in things:
            held = pa.total_allocated_bytes() - before + tracemalloc.get_traced_memory()[0]
            most = max(most, held)
    finally:
        tracemalloc.stop()
    return most


@pytest.mark.parametrize("group", [32, 384])
def test_a_manifest_with_pictures_is_read_bit_by_bit(tmp_path: Path, group: int) -> None:
    """However many row groups it has: a manifest of 100 GB fits into no memory."""
    photos = [os.urandom(65_536) for n in range(384)]
    table = pa.table({"id": [str(n) for n in range(384)], "bytes": photos})
    pq.write_table(
        table,
        tmp_path / "list.parquet",
        row_group_size=group,
        use_dictionary=False,
        data_page_size=2**18,
        write_batch_size=4,
    )
    del photos, table
    assert most_memory(Sources([str(tmp_path / "list.parquet")]).items()) < 9_000_000


def test_rows_of_a_result_are_read_bit_by_bit(tmp_path: Path) -> None:
    numbers = np.random.default_rng(0).standard_normal(8 * 8192 * 128, np.float32)
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(numbers), 128)
    pq.write_table(
        pa.table({"embedding": vectors}),
        tmp_path / "v.parquet",
        row_group_size=8192,
        use_dictionary=False,
    )
    del numbers, vectors
    assert most_memory(tables.batches(Store(str(tmp_path)), "v.parquet")) < 16_000_000


# -- ids, names and shards ---------------------------------------------------------------------
