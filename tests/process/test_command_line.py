# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests that ``python -m app`` answers each file of a folder once, with the same result as HTTP.

This holds even if it is interrupted with Ctrl-C and run again.
"""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from app.cli.files import Found, find_files
from app.cli.main import main
from app.pictures.kinds import may_be_picture
from benchmarks.service import PROJECT, Service
from tests.contract import check
from tests.pictures import encoded, picture, rotated_jpeg
from tests.process.folders import command, environ, mixed, run

MODEL = "ViT-B-16"


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_500_mixed_files_are_interrupted_and_resumed(
    hub: Path, service: Service, tmp_path: Path
) -> None:
    photos, out = tmp_path / "photos", tmp_path / "vectors.jsonl"
    made = mixed(photos, 500)
    arguments = ("embed", photos, "-o", out, "--model", MODEL, "--jobs", 4)
    with subprocess.Popen(
        command(*arguments), cwd=PROJECT, env=environ(hub), text=True, stderr=subprocess.PIPE
    ) as process:
        while not out.exists() or out.read_bytes().count(b"\n") < 20:
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=240)
    assert process.returncode == 130
    assert "run the same command again" in said
    before = rows(out)
    assert 20 <= len(before) < len(made.good)

    with out.open("a") as file:  # this imitates a process that was killed while it wrote a line
        file.write('{"path": "photos/some')
    again = run(hub, *arguments)
    assert again.returncode == 1, again.stderr
    assert f"{len(before)} done before" in again.stderr
    found = rows(out)
    assert found[: len(before)] == before
    assert sorted(row["path"] for row in found) == sorted(map(str, made.good))
    lines = (tmp_path / "vectors.jsonl.errors.txt").read_text().splitlines()
    assert sorted(line.split(": ")[0] for line in lines) == sorted(map(str, made.bad))
    assert all(line in again.stderr for line in lines)
    assert f"{len(made.others)} files are no pictures" in again.stderr

    for name in ("one/two/turned2.jpg", "phone3.heic", "one/good4.png"):
        files = {"image": ("a", (photos / name).read_bytes())}
        answer = check.json(service.post("/embed-image", files=files, data={"model": MODEL}))
        (row,) = [row for row in found if row["path"] == str(photos / name)]
        assert set(row) == {"path", "model", "image_size", "normalized", "dims", "weights"} | {
            "revision",
            "preprocess_version",
            "embedding",
        }
        for key in ("model", "dims", "image_size", "weights"):
            assert row[key] == answer[key]
        # The product is not exactly 1, because batches of another size may be computed by other
        # kernels.
        assert float(np.dot(row["embedding"], answer["embedding"])) > 0.9999


def test_maps_are_the_same_as_over_http(hub: Path, service: Service, tmp_path: Path) -> None:
    photos, out = tmp_path / "photos", tmp_path / "photos" / "maps"
    (photos / "below").mkdir(parents=True)
    same = {"a.jpg": rotated_jpeg(picture(90, 60)), "a.png": encoded(picture(60, 90, 2))}
    for name, data in same.items():
        (photos / name).write_bytes(data)
    (photos / "below" / "a.jpg").write_bytes(rotated_jpeg(picture(90, 60, 3)))
    first = run(hub, "depth", photos, "-o", out)
    assert first.returncode == 0, first.stderr
    made = {path.relative_to(out): path for path in out.rglob("*.*")}
    assert set(map(str, made)) == {"a.jpg.png", "a.png.png", "below/a.jpg.png"}
    for name, data in same.items():
        answer = service.post("/api/depth", files={"image": ("a", data)})
        assert (out / f"{name}.png").read_bytes() == answer.content

    (out / "a.png.png").unlink()
    again = run(hub, "depth", photos, "-o", out)
    assert again.returncode == 0
    assert "3 files: 1 done, 2 done before, 0 failed" in again.stderr, "its own maps are no photos"

    options = {"size": "50", "colormap": "viridis", "format": "jpg"}
    other = [part for name, value in options.items() for part in (f"--{name}", value)]
    coloured = run(hub, "depth", photos / "a.jpg", "-o", tmp_path / "other", *other, "--invert")
    assert coloured.returncode == 0, coloured.stderr
    answer = service.post(
        "/api/depth",
        files={"image": ("a", same["a.jpg"])},
        data={**options, "invert": "true", "model": "small"},
    )
    assert (tmp_path / "other" / "a.jpg.jpg").read_bytes() == answer.content


def test_scenes_are_those_of_http(hub: Path, service: Service, tmp_path: Path) -> None:
    photo = encoded(picture(90, 60))
    (tmp_path / "a.jpg").write_bytes(photo)
    options = {"format": "spz", "max_splats": "2000", "fov": "70", "depth_range": "1,5"}
    arguments = [part for name, text in options.items() for part in (f"--{name}", text)]
    arguments = [each.replace("_", "-") for each in arguments]
    done = run(hub, "depth", tmp_path / "a.jpg", "-o", tmp_path / "scenes", *arguments)
    assert done.returncode == 0, done.stderr
    answer = service.post("/api/splat", files={"image": ("a", photo)}, data=options)
    assert (tmp_path / "scenes" / "a.jpg.spz").read_bytes() == answer.content


def test_arrays_at_the_end(hub: Path, tmp_path: Path) -> None:
    made = mixed(tmp_path / "photos", 12)
    out = tmp_path / "vectors.npz"
    options = ("--model", MODEL, "--image-size", 64, "--no-normalize")
    assert run(hub, "embed", tmp_path / "photos", "-o", out, *options).returncode == 1
    arrays = np.load(out, allow_pickle=False)
    expected = rows(tmp_path / "vectors.jsonl")
    assert arrays["embeddings"].dtype == np.float32
    assert arrays["paths"].tolist() == [row["path"] for row in expected]
    assert {Path(path) for path in arrays["paths"]} == made.good
    vectors = np.array([row["embedding"] for row in expected], np.float32)
    np.testing.assert_array_equal(arrays["embeddings"], vectors)
    assert (arrays["model"], arrays["image_size"], arrays["normalized"]) == (MODEL, 64, False)
    assert np.linalg.norm(arrays["embeddings"][0]) != pytest.approx(1, abs=1e-2)


def test_odd_files_each_have_their_line(hub: Path, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    (photos / "folder.jpg").mkdir(parents=True)
    os.mkfifo(photos / "pipe.jpg")
    (photos / "dangling.jpg").symlink_to(tmp_path / "nowhere")
    (photos / "round").symlink_to(photos)
    (photos / ".hidden").write_bytes(b"x")
    (photos / "empty.jpg").touch()
    (photos / "strip.png").write_bytes(encoded(Image.new("L", (3000, 10))))
    data = encoded(picture(40, 40))
    for name in (b"two\nlines.png", b"not-utf8-\xff.png", b"linked to.png"):
        Path(os.fsdecode(bytes(photos) + b"/" + name)).write_bytes(data)
    done = run(hub, "depth", photos, "-o", tmp_path / "maps")
    assert done.returncode == 1, done.stderr
    names = {os.fsencode(path.name) for path in (tmp_path / "maps").glob("*.png")}
    assert names == {b"two\nlines.png.png", b"not-utf8-\xff.png.png", b"linked to.png.png"}
    lines = (tmp_path / "maps" / "errors.txt").read_text().splitlines()
    failed = sorted(Path(line.split(": ")[0]).name for line in lines)
    assert failed == ["dangling.jpg", "empty.jpg", "pipe.jpg", "strip.png"]
    embedded = run(hub, "embed", photos, "-o", tmp_path / "v.jsonl", "--model", MODEL)
    assert "7 files: 4 done, 0 done before, 3 failed" in embedded.stderr
    again = run(hub, "embed", photos, "-o", tmp_path / "v.jsonl", "--model", MODEL)
    assert "7 files: 0 done, 4 done before, 3 failed" in again.stderr


def test_wrong_usage_does_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It ends before anything is loaded, so that this process can run the commands."""
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    photo, out = tmp_path / "a.png", tmp_path / "out.jsonl"
    photo.write_bytes(encoded(picture(40, 40)))
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "a.png").write_bytes(b"another")
    vectors = tmp_path / "other.jsonl"
    vectors.write_text(
        '{"path": "a", "model": "ViT-L-14", "image_size": 224, "normalized": true}\n'
    )
    for arguments, expected in (
        (("embed", photo, "-o", tmp_path / "out.csv"), ".jsonl or .npz"),
        (("embed", tmp_path / "missing", "-o", out), "does not exist"),
        (("embed", photo, "-o", out, "--model", "small"), "known: ViT-L-14, ViT-B-16"),
        (("embed", photo, "-o", out, "--jobs", "0"), "allowed: 1 to 1024"),
        (("embed", photo, "-o", vectors, "--model", MODEL), "choose another -o"),
        (("depth", photo, "-o", out, "--format", "gif"), "webp, jpeg, ply, splat"),
        (("depth", photo, "-o", out, "--format", "ply", "--invert"), "takes no --invert"),
        (("depth", photo, "-o", out, "--max-splats", "5000"), "png takes no --max-splats"),
        (("depth", photo, "-o", out, "--format", "glb", "--depth-range", "2,1"), "near,far"),
        (("depth", tmp_path, "-o", tmp_path), "both input and output"),
        (("depth", photo, tmp_path / "b", "-o", tmp_path / "maps"), "would both become"),
        (("depth", photo, "-o", tmp_path / "maps.png"), "allowed: a folder"),
        (("depth", photo, "-o", vectors), "cannot be written"),
    ):
        try:
            status: object = main(list(map(str, arguments)))
        except SystemExit as end:  # of argparse
            status = end.code
        assert (status, expected in (told := capsys.readouterr().err)) == (2, True), told
    assert not out.exists()
    assert vectors.read_text().count("\n") == 1


def test_a_path_that_nobody_can_reach(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for task in ("depth", "embed"):
        assert main([task, str(tmp_path), "-o", f"{tmp_path}/{300 * 'a'}/"]) == 1
        assert "File name too long" in capsys.readouterr().err


def test_weights_that_cannot_be_had(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encoded(picture(40, 40)))
    done = run(tmp_path / "hub", "depth", tmp_path / "a.png", "-o", tmp_path / "maps")
    assert done.returncode == 1
    assert "HF_HUB_OFFLINE is set" in done.stderr
    assert "copy the checkpoint" in done.stderr
    assert "Traceback" not in done.stderr


NAS = (
    "@eaDir/a.jpg/SYNOPHOTO_THUMB_M.jpg",
    "#recycle/deleted.jpg",
    "#snapshot/old.jpg",
    "@Recycle/deleted.jpg",
    "@Recently-Snapshot/old.jpg",
    ".@__thumb/default.jpg",
    "$RECYCLE.BIN/deleted.jpg",
    "System Volume Information/a.jpg",
    "lost+found/found.jpg",
    ".Trash-1000/files/deleted.jpg",
    ".Trashes/deleted.jpg",
    "__MACOSX/._a.jpg",
    "below/@EADIR/thumb.jpg",
    "below/Thumbs.db",
    "below/.DS_Store",
    "below/._a.jpg",
)


def lay(folder: Path, names: Sequence[str], data: bytes) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)


def names_found(found: Found, top: Path) -> set[str]:
    return {str(photo.path.relative_to(top)) for photo in found.photos}


def test_what_a_nas_keeps_is_left_out(tmp_path: Path) -> None:
    lay(tmp_path, [*NAS, "a.jpg", "#summer/b.jpg", "@home/c.jpg", "below/d.jpg"], b"x")
    found = find_files([tmp_path], own=())
    assert names_found(found, tmp_path) == {"a.jpg", "#summer/b.jpg", "@home/c.jpg", "below/d.jpg"}
    assert found.left_out["@eaDir"] == found.left_out["Thumbs.db"] == 1
    everything = find_files([tmp_path], own=(), everything=True)
    assert set(NAS) < names_found(everything, tmp_path)
    assert not everything.left_out
    # Files and folders that the user names are taken all the same.
    assert len(find_files([tmp_path / "#recycle"], own=()).photos) == 1
    (named,) = find_files([tmp_path / "below" / "Thumbs.db"], own=()).photos
    assert named.is_named


def test_a_folder_that_cannot_be_read_is_named_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lay(tmp_path, ["closed/a.jpg", "names only/b.jpg", "c.jpg"], b"x")
    scandir, access = os.scandir, os.access

    def refusing(path: str) -> Any:
        if Path(path).name == "closed":
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    monkeypatch.setattr(
        os, "access", lambda path, mode: "names only" not in str(path) and access(path, mode)
    )
    found = find_files([tmp_path, tmp_path / "closed", tmp_path], own=())
    assert names_found(found, tmp_path) == {"c.jpg"}
    assert [str(failure) for failure in found.failures] == [
        f"{tmp_path}/closed: It cannot be read (Permission denied)",
        f"{tmp_path}/names only: It cannot be read (Permission denied)",
    ]


def box(*brands: bytes) -> bytes:
    """Return the beginning of a file of the MP4 family, which includes HEIC and AVIF."""
    content = brands[0] + bytes(4) + b"".join(brands[1:])
    return (8 + len(content)).to_bytes(4, "big") + b"ftyp" + content + b"....mdat"


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b"\xff\xd8\xff\xe1", True),
        (b"MM\0*", True),
        (box(b"heic", b"mif1"), True),
        (box(b"isom", b"mif1", b"heic"), True),
        (box(b"avif"), True),
        (box(b"qt  ", b"qt  "), False),  # the video of a live photo
        (box(b"isom", b"iso2", b"mp41"), False),
        (b"\0\0\0\x01Bud1", False),  # a .DS_Store file
        (b"\0\x05\x16\x07\0\x02\0\0Mac OS X", False),  # a file like ._a.jpg, which macOS adds
        (b"%PDF-1.7", False),
        (b"RIFF....WAVE", False),
    ],
)
def test_pictures_are_told_by_their_first_bytes(head: bytes, expected: bool) -> None:
    assert may_be_picture(head) is expected


def test_files_that_are_no_pictures_are_counted(hub: Path, tmp_path: Path) -> None:
    """Neither files that are not pictures nor the files of a NAS are errors."""
    photos, out = tmp_path / "photos", tmp_path / "maps"
    lay(photos, ["one/notes.txt", "two/notes.txt", "one/fake.jpg"], b"no image")
    lay(photos, ["one/live.mov"], box(b"qt  "))
    lay(photos, NAS, b"x")
    lay(photos, ["one/a.png", "two/b.png"], encoded(picture(40, 40)))
    arguments = ("-o", out, "--model", "builtin-depth")
    # Both folders have a file with the same name, which is not a picture.
    done = run(hub, "depth", photos / "one", photos / "two", *arguments)
    assert done.returncode == 0, done.stderr
    assert "2 files: 2 done, 0 done before, 0 failed" in done.stderr
    assert "4 files are no pictures" in done.stderr
    assert not (out / "errors.txt").exists()
    # Nothing is left to do, so no model is loaded.
    again = run(hub, "depth", photos / "one", photos / "two", *arguments)
    assert again.returncode == 0
    assert "2 files: 0 done, 2 done before, 0 failed" in again.stderr
    assert "builtin-depth" not in again.stderr

    named = run(
        hub, "depth", photos / "one" / "notes.txt", "-o", tmp_path / "other", *arguments[2:]
    )
    assert named.returncode == 1
    assert f"{photos}/one/notes.txt: The file is not an image" in named.stderr
    assert "1 file is no picture" not in named.stderr

    nothing = run(hub, "depth", photos / "below", *arguments)
    assert nothing.returncode == 0
    assert "left out, as kept by a NAS or system:" in nothing.stderr
    assert "--all takes them" in nothing.stderr
