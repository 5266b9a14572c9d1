# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests how rows of a library are written, with a kill at every possible place."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from app.errors import BadRequest
from app.library import clip_retrieval, parts, rows
from app.library.parts import MixedRows, Output, Sink
from app.library.rows import Row
from app.library.shards import Shard
from app.library.store import Store

FACTS = {"model": "m", "normalized": True, "image_size": 224}
SCHEMA = rows.schema(3, **FACTS)  # type: ignore[arg-type]


def row(id: str, **fields: Any) -> Row:
    vector = np.arange(3, dtype=np.float32)
    return Row(id, id, "m", **{"embedding": vector, "revision": "r", **fields})


def sink(out: object, shard: Shard = Shard(), **options: Any) -> Sink:  # noqa: B008
    found = Sink(Output.parse(str(out)), rows.facts(SCHEMA), shard, **options)
    found.schema = SCHEMA
    return found


class Killed(BaseException):
    """Stands for a SIGKILL."""


def killing_store(monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    """End the process, so to say, in the middle of the operation number ``after`` of stores."""
    count = 0

    def counted(real: Callable[..., Any]) -> Callable[..., Any]:
        def operation(*arguments: Any, **options: Any) -> Any:
            nonlocal count
            count += 1
            if count > after:
                raise Killed
            return real(*arguments, **options)

        return operation

    for name in ("write", "put", "remove", "remove_folder"):
        monkeypatch.setattr(Store, name, counted(getattr(Store, name)))


def work(out: object, names: list[str]) -> list[str]:
    """Write rows for all ids that have none, in parts of two; returns those ids."""
    target = sink(out)
    left = [name for name in names if name not in target.done]
    for number, name in enumerate(left):
        target.add(row(name))
        if number % 2:
            target.flush()
    target.close(complete=True)
    return left


@pytest.mark.parametrize("out", ["vectors.parquet", "vectors/"])
def test_a_kill_at_any_time_loses_and_repeats_nothing(
    out: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "_MANY_PARTS", 3)
    names = [f"n{number}" for number in range(11)]
    for after in range(40):
        folder = tmp_path / str(after)
        folder.mkdir()
        target = folder / out.rstrip("/")
        with monkeypatch.context() as patch:
            killing_store(patch, after)
            try:
                # The first run does a part of the list, and another one goes on with its result.
                work(f"{folder}/{out}", names[:7])
                work(f"{folder}/{out}", names)
                finished = True
            except Killed:
                finished = False
        before = set(readable(target))
        left = work(f"{folder}/{out}", names)
        assert before & set(left) == set(), "nothing that was written is computed again"
        assert readable(target) == Counter(names)
        assert not Path(f"{target}.parts").exists()
        assert not [*folder.rglob("*.partial")]
        if finished:
            break
    else:
        pytest.fail("it never got to the end")
    assert after > 10


def readable(target: Path) -> Counter[str]:
    """Count the rows of each id that are on disk, as a result or in parts for one."""
    files = [target] if target.is_file() else [*target.glob("part-*")]
    files += Path(f"{target}.parts").glob("part-*")
    return Counter(id for file in files for id in pq.read_table(file)["id"].to_pylist())


def test_failed_pictures_are_tried_again_only_on_demand(tmp_path: Path) -> None:
    for out in (tmp_path / "v.parquet", tmp_path / "v" / "x"):
        address = str(out) if out.suffix else f"{out}/"
        first = sink(address)
        first.add(row("a"))
        first.add(row("b", embedding=None, revision=None, error="no"))
        first.close(complete=True)
        again = sink(address)
        assert "b" in again.done
        assert again.failed_before == 1
        retried = sink(address, retry_errors=True)
        assert "b" not in retried.done
        assert "a" in retried.done
        retried.add(row("b"))
        retried.close(complete=True)
        assert readable(out) == Counter(["a", "b"])
        assert sink(address).failed_before == 0


def test_rows_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    out = f"{tmp_path}/v/"
    first = sink(out)
    first.add(row("a"))
    first.close(complete=True)
    with pytest.raises(MixedRows, match="made with revision r of m, which is now s"):
        sink(out).add(row("b", revision="s"))
    facts = {**rows.facts(SCHEMA), "normalized": "false"}
    with pytest.raises(BadRequest, match="was made with"):
        Sink(Output.parse(out), facts)
    large = sink(out)
    large.add(row("c", embedding=np.full(3, 1e6, np.float32)))
    with pytest.raises(MixedRows, match="use --float32"):
        large.flush()
    other = tmp_path / "other.parquet"
    pq.write_table(pa.table({"x": [1]}), other)
    with pytest.raises(BadRequest, match="has other columns"):
        sink(other)
    other.write_text("no table")
    with pytest.raises(BadRequest, match="is no Parquet file"):
        sink(other)


def other(out: str, shard: Shard, revision: str | None = None, **changed: Any) -> Sink:
    """A shard that has loaded its model, and has written nothing yet."""
    schema = rows.schema(3, **{**FACTS, **changed})
    found = Sink(Output.parse(out), rows.facts(schema), shard)
    found.schema = rows.with_revision(schema, revision) if revision else schema
    return found


@pytest.mark.parametrize("changed", [{"model": "n"}, {"normalized": False}, {"image_size": 10}])
def test_shards_with_other_options_are_refused(changed: dict[str, Any], tmp_path: Path) -> None:
    out = f"{tmp_path}/v/"
    # Both start at the same time: the second to write sees the part of the first.
    first, second = other(out, Shard(0, 2)), other(out, Shard(1, 2), **changed)
    first.start()
    with pytest.raises(BadRequest, match="was made with"):
        second.start()
    assert len(list((tmp_path / "v").iterdir())) == 1, "it leaves nothing"
    with pytest.raises(BadRequest, match="was made with"):
        other(out, Shard(1, 2), **changed)
    other(out, Shard(1, 2)).start()


def test_shards_with_another_checkpoint_are_refused(tmp_path: Path) -> None:
    out = f"{tmp_path}/v/"
    other(out, Shard(0, 2), "a" * 40).start()
    with pytest.raises(MixedRows, match=r"made with revision a+ of m, which is now b+"):
        other(out, Shard(1, 2), "b" * 40).start()
    other(out, Shard(1, 2), "a" * 40).start()
    with pytest.raises(MixedRows, match=r"made with revision a+ of m, which is now b+"):
        other(out, Shard(), "b" * 40).start()


def test_shards_write_beside_each_other(tmp_path: Path) -> None:
    out = f"{tmp_path}/v/"
    names = [f"n{number}" for number in range(20)]
    shards = [Shard(index, 2) for index in range(2)]
    sinks = [sink(out, shard) for shard in shards]
    for name in names:
        failed = {"embedding": None, "error": "no"} if name == "n3" else {}
        sinks[shards.index(next(s for s in shards if s.holds(name)))].add(row(name, **failed))
    for each in sinks:
        each.close(complete=True)
    assert readable(tmp_path / "v") == Counter(names)
    # Another number of shards goes on with what is there.
    found = [sink(out, Shard(index, 3)) for index in range(3)]
    assert sum(len(each.done) for each in found) == len(names)
    holder = next(shard for shard in (Shard(index, 3) for index in range(3)) if shard.holds("n3"))
    with pytest.raises(BadRequest, match="use the same shards as before, or none"):
        sink(out, holder, retry_errors=True)
    assert sum("n3" in sink(out, shard, retry_errors=True).done for shard in shards) == 0


def test_an_export_leaves_no_file_of_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clip_retrieval, "_MOST_ROWS", 1)
    parts = f"{tmp_path}/index/parts/"
    for letters in ("ab", "cdefghijklm"):
        some = sink(parts)
        for id in letters:
            some.add(row(id))
        some.close(complete=True)
        clip_retrieval.export(Store(parts), Store(f"{tmp_path}/index"))
    for folder in ("img_emb", "metadata"):
        assert len(list((tmp_path / "index" / folder).iterdir())) == 13
