# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests the ids of pictures: shards of them, and the names of files that are made of them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from app.cli.outputs import writing
from app.errors import BadRequest
from app.library import ids
from app.library.ids import Ids
from app.library.map_names import map_name
from app.library.shards import Shard


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


def test_a_long_name_can_be_written(tmp_path: Path) -> None:
    """The name of the unfinished file is longer, but not too long."""
    for name in (f"{250 * 'a'}.jpg", f"{124 * chr(252)}b.jpg", f"{124 * chr(252)}c.jpg"):
        path = tmp_path / name
        with writing(path) as file:
            file.write(name.encode())
        assert path.read_text() == name
    assert len(list(tmp_path.iterdir())) == 3
