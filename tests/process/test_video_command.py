# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests ``python -m app video``: one film or folders of them, interrupted and resumed, as HTTP."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import numpy as np
import pytest

from app.cli.arguments import parse
from app.cli.problems import UsageError
from app.cli.session import Stop
from app.cli.video import make_films
from app.errors import BadRequest
from benchmarks.service import PROJECT, Service
from tests.films.small import film, read, sound_of
from tests.process.folders import command, environ, run
from tests.waiting import wait_for

SIZE = (64, 48)
FILM = film(8, SIZE, sound=True)
OTHER = film(5, SIZE)
MODEL = ("--model", "builtin-depth")


@pytest.fixture
def films(tmp_path: Path) -> Path:
    """Two films, one in a folder of its own, a broken one, and a text file."""
    folder = tmp_path / "films"
    (folder / "sub").mkdir(parents=True)
    (folder / "a.mp4").write_bytes(FILM)
    (folder / "broken.mp4").write_bytes(FILM[:300])
    (folder / "notes.txt").write_text("no film")
    (folder / "sub" / "z.mp4").write_bytes(OTHER)
    return folder


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def assert_same_film(one: bytes, other: bytes) -> None:
    """Assert that two films show the same; their bytes depend on the threads of the encoder."""
    (frames, times), (others, other_times) = read(one), read(other)
    assert times == other_times
    assert np.abs(np.subtract(frames, others, dtype=np.int16)).mean() < 1


def test_a_folder_is_interrupted_and_resumed(
    built_in: Path, demo: Service, films: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    long = films / "sub" / "z.mp4"
    long.write_bytes(film(3000, SIZE))
    arguments = ("video", films, "-o", out, *MODEL)
    with subprocess.Popen(
        command(*arguments), cwd=PROJECT, env=environ(built_in), text=True, stderr=subprocess.PIPE
    ) as process:
        partial = out / "sub" / ".z.mp4_depth.mp4.partial"
        wait_for(
            lambda: process.poll() is not None or (partial.exists() and partial.stat().st_size)
        )
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=240)
    assert process.returncode == 130, said
    assert "run the same command again" in said
    assert "Traceback" not in said
    assert names(out) == ["a.mp4_depth.mp4", "errors.txt"]

    first = (out / "a.mp4_depth.mp4").stat()
    long.write_bytes(OTHER)
    again = run(built_in, *arguments)
    assert again.returncode == 1, again.stderr
    assert "3 films: 1 done, 1 done before, 1 failed" in again.stderr
    assert "1 file is no film" in again.stderr
    assert names(out) == ["a.mp4_depth.mp4", "errors.txt", "sub/z.mp4_depth.mp4"]
    assert (out / "a.mp4_depth.mp4").stat() == first
    (line,) = (out / "errors.txt").read_text().splitlines()
    assert line in again.stderr
    assert line.startswith(f"{films / 'broken.mp4'}: The MP4 or MOV file cannot be read")

    path = "/api/video/depth?output_format=mp4&model=builtin-depth"
    for made, given in (("a.mp4", FILM), ("sub/z.mp4", OTHER)):
        answer = demo.post(path, files={"video": ("a.mp4", given)})
        assert_same_film((out / f"{made}_depth.mp4").read_bytes(), answer.content)
    assert sound_of((out / "a.mp4_depth.mp4").read_bytes()) == sound_of(FILM)


def test_a_film_to_a_file_is_what_http_answers(
    built_in: Path, demo: Service, films: Path, tmp_path: Path
) -> None:
    out = tmp_path / "new" / "half.mkv"
    options = {"stereo": "half-sbs", "divergence": "4", "start": "0.2", "duration": "0.3"}
    given = [text for name, value in options.items() for text in (f"--{name}", value)]
    arguments = ("video", films / "a.mp4", "-o", out, "--swap", *given, *MODEL)
    done = run(built_in, *arguments)
    assert done.returncode == 0, done.stderr
    assert "1 film: 1 done" in done.stderr
    assert names(tmp_path / "new") == ["half.mkv"]
    data = options | {"swap": "true", "output_format": "mkv", "model": "builtin-depth"}
    answer = demo.post("/api/video/sbs", files={"video": ("a.mp4", FILM)}, data=data)
    assert answer.status_code == 200, answer.text
    assert_same_film(out.read_bytes(), answer.content)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("a.mp4", "-o", "a.mp4"), "cannot be both input and output"),
        (("a.mp4", "-o", "b.mov"), "give a file that ends in .mp4, .mkv or .zip, or a folder"),
        (("a.mp4", "sub/z.mp4", "-o", "b.mp4"), "a file is for one film; give a folder"),
        ((".", "-o", "b.mp4"), "a file is for one film; give a folder"),
        ((".", "-o", "."), "cannot be both input and output"),
        (("a.mp4", "-o", "notes.txt"), "notes.txt: cannot be written (File exists)"),
        (("none.mp4", "-o", "out"), "none.mp4 does not exist"),
        (("a.mp4", "./sub/../a.mp4", "-o", "out"), "would both become"),
        (("a.mp4", "-o", "b.zip", "--stereo", "sbs"), "output_format: allowed: 'mp4' or 'mkv'"),
        (("a.mp4", "-o", "b.mp4", "--output-format", "mkv"), "--output-format mkv does not fit"),
        (("a.mp4", "-o", "b.mp4", "--swap"), "only with --stereo: --swap"),
        (("a.mp4", "-o", "out", "--stereo", "tb", "--fps", "2"), "a 3D film takes no --fps"),
        (("a.mp4", "-o", "out", "--codec", "divx"), "codec: allowed: 'h264'"),
        (("a.mp4", "-o", "out", "--model", "ViT-B-16"), "ViT-B-16"),
    ],
)
def test_wrong_usage_is_refused_before_any_work(
    films: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], message: str
) -> None:
    monkeypatch.chdir(films)
    before = names(films)
    with pytest.raises((UsageError, BadRequest)) as refused:
        make_films(parse(["video", *arguments]), Stop())
    assert message in str(refused.value)
    assert names(films) == before


def test_wrong_usage_has_its_exit_status(films: Path, built_in: Path) -> None:
    done = run(built_in, "video", films, "-o", films)
    assert done.returncode == 2
    assert done.stderr.startswith("python -m app video: ")
    assert len(done.stderr.splitlines()) == 1
