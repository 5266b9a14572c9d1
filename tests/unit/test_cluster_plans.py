# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests the plans of a cluster's run without a cluster: each picture is in one unit, and has one
row, whatever was killed or ran twice.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from app.cluster import descriptions
from app.cluster.job import Job
from app.cluster.plans import Plans, Unit
from app.cluster.work import Work
from app.cluster.worker import Outcome, Worker, outcome
from app.errors import BadRequest
from app.library import rows
from app.library.ids import Ids
from app.library.items import Broken, Bytes, Item, LocalFile, Member, Remote, Stored
from app.library.parts import Output, Sink
from app.library.rows import Row
from app.library.store import Store

SCHEMA = rows.maps_schema(model="small", options="")
FACTS = rows.maps_facts(model="small", options="")


def pictures(count: int) -> list[Item]:
    return [Stored(f"s3://photos/{each}", "", "") for each in range(count)]


@pytest.fixture
def parts(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "out"))


@pytest.fixture
def worker(parts: Store, monkeypatch: pytest.MonkeyPatch) -> Worker:
    """Return an actor that has loaded its model, so to say."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for name in ("Runtime", "memory.share_one_arena", "configure_logging"):
        monkeypatch.setattr(f"app.cluster.worker.{name}", Mock())
    command = Mock(task="depth")
    command.schema.return_value = SCHEMA
    return Worker(Work(command, Mock(key="small"), parts.address), cores=1, jobs=1)


def ids_of(plans: Plans, unit: Unit) -> list[str]:
    return [row["id"] for row in plans.rows(unit)]


def do(plans: Plans, unit: Unit, error: str | None = None) -> None:
    done = [Row(id, id, "small", error=error) for id in ids_of(plans, unit)]
    plans.publish(unit, rows.table(done, SCHEMA))


def resumed(parts: Store, *, retry_errors: bool = False) -> tuple[Job, Sink]:
    sink = Sink(Output(parts, None), FACTS, retry_errors=retry_errors)
    return Job(parts, sink.done), sink


def written(parts: Store) -> Counter[str]:
    assert parts.folder is not None
    files = parts.folder.glob("*.parquet")
    return Counter(id for file in files for id in pq.read_table(file)["id"].to_pylist())


def test_each_picture_is_in_one_unit(parts: Store) -> None:
    job = Job(parts, Ids())
    assert job.plan([*pictures(3000), *pictures(40)], None) == 3000
    assert job.repeated == 40
    plans = Plans(parts)
    units = plans.open_units()
    found = [id for unit in units for id in ids_of(plans, unit)]
    assert Counter(found) == Counter(each.id for each in pictures(3000))
    assert len({unit.part for unit in units}) == len(units) > 64, "small units at first"


def test_a_run_goes_on_where_a_killed_one_was(parts: Store) -> None:
    Job(parts, Ids()).plan(pictures(100), None)
    plans = Plans(parts)
    first, second, *others = plans.open_units()
    do(plans, first)
    do(plans, first)  # a machine that was taken for dead goes on
    job, sink = resumed(parts)
    assert job.plan(pictures(130), sink.schema) == 130 - 16
    assert set(plans.open_units()) >= {second, *others}
    for unit in plans.open_units():
        do(plans, unit)
    assert written(parts) == Counter(each.id for each in pictures(130))
    plans.remove()
    assert parts.folder is not None
    assert all(path.suffix == ".parquet" for path in parts.folder.iterdir())


def test_a_plan_that_was_not_finished_does_not_count(parts: Store) -> None:
    def killed() -> Iterator[Item]:
        yield from pictures(5000)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Job(parts, Ids()).plan(killed(), None)
    assert Plans(parts).open_units() == []
    assert Job(parts, Ids()).plan(pictures(20), None) == 20


def test_a_run_on_one_machine_may_come_between(parts: Store) -> None:
    """What it has done of a unit is not done again, and the rest of the unit is done once."""
    Job(parts, Ids()).plan(pictures(100), None)
    plain = Sink(Output(parts, None), FACTS)
    plain.schema = SCHEMA
    for each in pictures(20):
        plain.add(Row(each.id, each.id, "small"))
    plain.close(complete=False)
    job, sink = resumed(parts)
    assert job.plan(pictures(100), sink.schema) == 80
    plans = Plans(parts)
    for unit in plans.open_units():
        do(plans, unit)
    assert written(parts) == Counter(each.id for each in pictures(100))


def test_failed_pictures_are_tried_again_on_request(parts: Store) -> None:
    Job(parts, Ids()).plan(pictures(40), None)
    plans = Plans(parts)
    failed, *others = plans.open_units()
    do(plans, failed, "It is broken")
    for unit in others:
        do(plans, unit)
    job, sink = resumed(parts)
    assert job.plan(pictures(40), sink.schema) == 0
    job, sink = resumed(parts, retry_errors=True)
    assert job.plan(pictures(40), sink.schema) == 16
    for unit in plans.open_units():
        do(plans, unit)
    assert written(parts) == Counter(each.id for each in pictures(40))


def test_what_a_lost_machine_had_written_is_counted(
    parts: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine is lost before it starts a unit, or after it wrote one but could not tell."""
    job, plans, passes = Job(parts, Ids()), Plans(parts), []
    job.plan(pictures(80), None)

    def outcomes(units: list[Unit], *_: object) -> Iterator[Outcome]:
        passes.append(len(units))
        for number, unit in enumerate(units):
            if number != 1 or len(passes) > 1:
                do(plans, unit, error="It is broken" if number == 0 else None)
            if number > 1:
                yield outcome(unit, plans.errors(unit))
                yield outcome(unit, plans.errors(unit))

    monkeypatch.setattr("app.cluster.job.outcomes", outcomes)
    kept: list[Outcome] = []
    work, actors = Mock(), Mock()
    assert job.run(work, actors, kept.append, lambda: False)
    assert passes == [5, 1]
    assert sum(each["done"] for each in kept) == 80 - 2 * 16
    assert sum((Counter(json.loads(each["reasons"])) for each in kept), Counter()) == {
        "It is broken": 2 * 16
    }
    assert written(parts) == Counter(each.id for each in pictures(80))


def test_machines_with_different_checkpoints_are_noticed(parts: Store) -> None:
    Job(parts, Ids()).plan(pictures(3), None)
    plans = Plans(parts)
    assert plans.claim("refs/pr/1") == plans.claim("refs/pr/1") == {"refs/pr/1"}
    assert plans.claim("main") == {"refs/pr/1", "main"}
    Job(parts, Ids()).plan(pictures(3), None)
    assert plans.claim("main") == {"main"}, "claims of a run that ended do not count"
    plans.remove()


@pytest.mark.usefixtures("worker")
def test_maps_of_a_run_that_was_stopped_early_are_not_taken_for_others(parts: Store) -> None:
    """A machine may have written maps before its first unit is done and has a part."""
    Sink(Output(parts, None), FACTS)
    with pytest.raises(BadRequest, match=r"was made with model small, .*, not with model other"):
        Sink(Output(parts, None), rows.maps_facts(model="other", options=""))
    with pytest.raises(BadRequest, match="was made with"):
        Sink(Output(parts, None), rows.maps_facts(model="small", options="{}"))


def test_a_plan_that_cannot_be_read_is_told(parts: Store, worker: Worker) -> None:
    """An actor that raised an error would be taken for one that lacked memory."""
    Job(parts, Ids()).plan(pictures(3), None)
    (unit,) = Plans(parts).open_units()
    batch = {"plan": [unit.plan], "file": [unit.file], "group": [unit.group]}
    columns = {name: np.array(values) for name, values in batch.items()}
    assert parts.folder is not None
    manifest = parts.folder / ".cluster" / unit.manifest

    rows = pq.read_table(manifest)
    kinds = pa.array(["Unheard"] * 3)
    pq.write_table(rows.set_column(rows.schema.get_field_index("kind"), "kind", kinds), manifest)
    (problem,) = worker(columns)["problem"]
    assert problem == "a manifest with Unheard: it was written by another version"

    manifest.write_bytes(b"damaged")
    (problem,) = worker(columns)["problem"]
    said = f"the plan {unit.manifest} is damaged: delete the folder .cluster there"
    assert problem.startswith(f"{parts.address} cannot be read ({said}")
    with pytest.raises(OSError, match=r"delete the folder .cluster there"):
        Job(parts, Ids()).plan(pictures(3), None)

    manifest.unlink()
    (problem,) = worker(columns)["problem"]
    assert "No such file" in problem


def test_files_of_folders_that_are_no_pictures_are_left_out(parts: Store, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no picture")
    file = tmp_path / "notes.txt"
    job = Job(parts, Ids())
    items = [LocalFile(str(file), str(file), file, is_found=True), *pictures(3)]
    assert job.plan(items, None) == 3
    assert job.others == 1


def test_every_kind_of_picture_can_be_sent(tmp_path: Path) -> None:
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.jpg"))
    for item in (
        LocalFile("a", "b", odd),
        Stored("a", "b", "s3://photos/a.jpg"),
        Remote("a", "b", "https://example.org/a.jpg", None),
        Member("a", "b", "s3://photos/all.tar", 512, 100),
        Bytes("a", "b", b"\xff\xd8"),
        Broken("a", "b", "no path"),
    ):
        assert descriptions.item(descriptions.described(item), None) == item
