# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests what ``embed`` and ``depth`` write of a library, without a model."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any, BinaryIO
from unittest.mock import Mock

import pytest

from app.cli.arguments import parse
from app.cli.library import is_library
from app.cli.library_jobs import MapsJob, Plan
from app.cli.problems import UsageError
from app.library.items import LocalFile
from app.library.shards import Shard
from app.library.store import Store
from app.rendering.options import DepthOptions
from config.models import ModelSpec


def maps_job(out: Path, shard: Shard = Shard(), model: str = "small") -> MapsJob:  # noqa: B008
    """Return a job that has read what is there."""
    job = MapsJob(Plan(f"{out}/", shard, retry_errors=False), DepthOptions())
    job.open(spec(model))
    return job


def spec(model: str = "small") -> ModelSpec:
    return ModelSpec(key=model, family="depth_anything")


def start(job: MapsJob) -> None:
    """Begin as if the model were loaded."""
    job.begin(runtime(), spec())


def end(job: MapsJob) -> None:
    """Give up the locks, as the end of the process does."""
    for descriptor in job._locks:
        os.close(descriptor)


def runtime() -> Mock:
    """Return a runtime that makes the same map of every picture."""
    runtime = Mock()
    runtime.manager.family.return_value.checkpoint.revision = "r"
    made_with = Mock(revision="r", precision="fp32", preprocess_version=1)

    def run(photo: BinaryIO, *_: object) -> Mock:
        photo.close()
        return Mock(file=b"map", photo_size=(4, 3), provenance=made_with)

    runtime.depth.run = run
    return runtime


def test_a_map_is_on_disk_before_a_row_lists_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    happened: list[tuple[str, str]] = []
    fsync, replace = os.fsync, os.replace

    def tell_sync(descriptor: int) -> None:
        happened.append(("on disk", Path(f"/proc/self/fd/{descriptor}").readlink().name))
        fsync(descriptor)

    def tell_rename(old: Path, new: Path) -> None:
        happened.append((old.name, new.name))
        replace(old, new)

    photo, out = tmp_path / "a.jpg", tmp_path / "maps"
    photo.touch()
    job = maps_job(out)
    start(job)
    monkeypatch.setattr(os, "fsync", tell_sync)
    monkeypatch.setattr(os, "replace", tell_rename)
    item = LocalFile("photos/a.jpg", "photos/a.jpg", photo)
    job.keep(item, job.work(item, runtime(), spec()))
    job.close(complete=True)
    content, name, folder, *_, (_, part), _ = happened
    assert content == ("on disk", name[0]), "what is in it is there before its name is"
    assert name[1] == "a.jpg.png"
    assert folder == ("on disk", "photos")
    assert part.endswith(".parquet")


def test_maps_without_a_list_are_not_made_again(tmp_path: Path) -> None:
    photos, out = tmp_path / "photos", tmp_path / "maps"
    photos.mkdir()
    arguments = ["depth", str(photos), "-o", str(out)]
    assert not is_library(parse([*arguments, "--retry-errors"])), "they are tried again anyway"
    (out / "below").mkdir(parents=True)
    (out / "below" / "a.jpg.png").touch()
    for shard in (Shard(), Shard(0, 2)):  # on a cluster there is one shard
        with pytest.raises(UsageError, match=r"such as a.jpg.png, and this run would make all"):
            maps_job(out, shard)
    assert not (out / "done").exists()


@pytest.mark.parametrize("command", ["embed", "depth", "video"])
def test_an_empty_name_is_not_the_current_folder(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Such as that of a variable that is not set."""
    for arguments in (["photos", "-o", ""], ["", "-o", "out"]):
        with pytest.raises(SystemExit):
            parse([command, *arguments])
        assert "it is empty" in capsys.readouterr().err


def test_a_list_of_maps_is_gone_on_with(tmp_path: Path) -> None:
    """Of shards, or of a cluster, whose command comes again without --shard or --cluster."""
    photos, out = tmp_path / "photos", tmp_path / "maps"
    photos.mkdir()
    first = maps_job(out, Shard(0, 2))
    start(first)
    (out / "a.jpg.png").touch()
    end(first)
    assert is_library(parse(["depth", str(photos), "-o", str(out)]))
    maps_job(out)


def test_a_shard_and_a_run_of_everything_exclude_each_other(tmp_path: Path) -> None:
    out = tmp_path / "maps"
    shard, other = maps_job(out, Shard(0, 2)), maps_job(out, Shard(1, 2))
    for refused in (Shard(), Shard(1, 2)):
        with pytest.raises(UsageError, match="another run writes to"):
            maps_job(out, refused)
    end(shard)
    end(other)
    whole = maps_job(out)
    with pytest.raises(UsageError, match="another run writes to"):
        maps_job(out, Shard(0, 2))
    end(whole)
    maps_job(out, Shard(1, 2))


def test_reasons_of_failures_take_bounded_memory(tmp_path: Path) -> None:
    """A reason may name the picture, so that each of millions has another."""
    job = maps_job(tmp_path)
    for number in range(3000):
        job.count(f"{number} is broken", times=2)
    assert job.failed() == 6000
    assert len(job.reasons) <= 1001
    assert job.reasons.most_common(1) == [("other reasons", 4000)]


def test_two_machines_may_write_one_map(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that was taken for lost goes on, while another does the same picture."""
    store, replace = Store(str(tmp_path)), os.replace
    came: list[bool] = []

    def slow(*arguments: Any) -> None:
        if not came:
            came.append(True)
            store.write("a.png", b"of the other machine")
        replace(*arguments)

    monkeypatch.setattr(os, "replace", slow)
    store.write("a.png", b"whole", durable=False)
    assert (tmp_path / "a.png").read_bytes() == b"whole"
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_half_written_maps_are_removed_in_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "maps"
    first = maps_job(out)
    start(first)
    end(first)
    (out / "below").mkdir()
    (out / "below" / ".notes.partial").touch()  # not ours
    killed = Mock(side_effect=KeyboardInterrupt)
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            Store(str(out)).write(f"below/{'é' * 100}.png", b"half")
    fresh, _ = killed.call_args.args
    fresh.touch()  # after a SIGKILL it would still be there
    for path in (fresh, out / "below" / ".notes.partial"):
        os.utime(path, (time.time() - 7200,) * 2)
    young = fresh.with_name(f".b.png.{'0' * 16}.partial")
    young.touch()
    again = maps_job(out)
    again.close(complete=False)
    assert fresh.exists(), "the run is not at its end"
    again.close(complete=True)
    left = {path.name for path in (out / "below").iterdir()}
    assert left == {".notes.partial", young.name}, "another machine may be writing the young one"
