# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests the video routes in this process: options, file names, headers and errors.

The task is replaced, so that no film is made.
"""

from __future__ import annotations

import errno
import io
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from flask import Flask
from werkzeug.test import Client, TestResponse

from app.blueprints.application import create_app
from app.blueprints.video_answers import VideoFrames
from app.errors import BadRequest
from app.jobs import store
from app.models.base import Provenance
from app.runtime import Runtime
from app.server import bodies
from app.tasks.results import Timings
from app.tasks.video import FilmResult, FrameCount, Progress
from app.video.film import FilmInfo
from app.video.work import FilmWork
from config.models import ModelSpec
from config.settings import Settings

INFO = FilmInfo("mp4", "hevc", (64, 48), Fraction(30000, 1001), 4.2, 126, 90, True, "aac")
FILM = os.urandom(3000)


@dataclass
class Recorder:
    """Stands in for the task: notes what is asked of it, and makes a few bytes."""

    works: list[FilmWork] = field(default_factory=list)
    films: list[bytes] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    total: int | None = 12

    def run(
        self,
        film: BinaryIO,
        spec: ModelSpec,
        work: FilmWork,
        _: Callable[[], bool],
        on_progress: Callable[[Progress], None],
    ) -> FilmResult:
        self.films.append(film.read())
        self.works.append(work)
        self.keys.append(spec.key)
        on_progress(Progress(1, self.total, 0.0))
        provenance = Provenance("1234", "torch", "fp32", 1)
        chunks: Any = iter([b"one", b"two"])
        return FilmResult(
            weights="random",
            provenance=provenance,
            timings=Timings(),
            warnings=self.warnings,
            chunks=chunks,
        )

    def count(self, film: BinaryIO, work: FilmWork, _: Callable[[], bool]) -> FrameCount:
        self.works.append(work)
        if not film.read().strip():
            raise BadRequest("Not a film", title="Not a film")
        return FrameCount(INFO, 5)


@pytest.fixture(scope="module")
def app(hub: Path) -> Iterator[Flask]:
    """Yield the app for pytest-flask's ``client``."""
    settings = Settings(
        hf_hub_cache=hub,
        hf_hub_offline=True,
        max_video_bytes=300_000,
        max_upload_bytes=100_000,
    )
    runtime = Runtime(settings)
    try:
        yield create_app(settings, runtime)
    finally:
        runtime.close()


@pytest.fixture
def recorder(app: Flask) -> Recorder:
    recorder = Recorder()
    app.extensions["twinlens"].video = recorder
    return recorder


@pytest.fixture(autouse=True)
def _replaced(recorder: Recorder) -> None:
    """Replace the task in each test."""


def post(
    client: Client, path: str, data: bytes = FILM, name: str = "My film.x.mov", **form: str
) -> Any:
    fields: dict[str, Any] = {"video": (io.BytesIO(data), name), **form}
    return client.post(path, data=fields, content_type="multipart/form-data")


def message(response: TestResponse, status: int, title: str) -> str:
    assert response.status_code == status
    body = response.get_json()
    assert body["error"] == title
    assert body["message"] == body["detail"]
    return str(body["message"])


@pytest.mark.parametrize(
    ("path", "kind", "name"),
    [
        (
            "depth?fps=1&max_frames=30&method=interval&output_format=zip",
            "application/zip",
            "depth_frames_My film.x.zip",
        ),
        ("depth", "application/zip", "depth_frames_My film.x.zip"),
        ("depth?output_format=mp4", "video/mp4", "depth_My film.x.mp4"),
        ("depth?output_format=mkv", "video/x-matroska", "depth_My film.x.mkv"),
        (
            "sbs?divergence=2.0&format=SBS_FULL&codec=h264&batch_size=10",
            "video/mp4",
            "sbs_My film.x.mp4",
        ),
        ("sbs?format=SBS_HALF&codec=hevc", "video/mp4", "sbs_My film.x.mp4"),
        ("sbs?stereo=sbs", "video/mp4", "My film.x_LRF_Full_SBS.mp4"),
        ("sbs?stereo=half-tb&swap=true&output_format=mkv", "video/x-matroska", "My film.x_BT.mkv"),
        ("sbs?stereo=anaglyph", "video/mp4", "My film.x_redcyan.mp4"),
    ],
)
def test_names_and_kinds(client: Client, path: str, kind: str, name: str) -> None:
    response = post(client, f"/api/video/{path}")
    assert response.status_code == 200
    assert response.data == b"onetwo"
    assert response.headers["Content-Type"] == kind
    assert response.headers["Content-Disposition"] == f'attachment; filename="{name}"'


def test_what_the_task_is_asked(client: Client, recorder: Recorder) -> None:
    sent = post(client, "/api/video/sbs?divergence=3&model=base", stereo="tb", divergence="4")
    assert sent.headers["X-Model-Used"] == "base"
    assert post(client, "/api/video/depth", model="large").headers["X-Model-Used"] == "large"
    assert recorder.films == [FILM, FILM]
    assert recorder.keys == ["base", "large"]
    assert recorder.works[0] == FilmWork("mp4", codec="h264", stereo="tb", divergence=4)


def test_headers(client: Client, recorder: Recorder) -> None:
    recorder.warnings.append("a sound track is left out\r\nX-Other: \u00e9" + 2000 * "x")
    given = post(client, "/api/video/sbs").headers
    assert given["X-Frames-Total"] == "12"
    assert given["X-Warning"].startswith("a sound track is left out??X-Other: ?xxx")
    assert len(given["X-Warning"]) == 1000
    assert "X-Other" not in given
    assert given["X-Model-Weights"] == "random"
    assert given["X-Engine"] == "torch"
    assert "X-Queue-Waiting" in given
    recorder.total = None
    recorder.warnings.clear()
    given = post(client, "/api/video/sbs").headers
    assert "X-Frames-Total" not in given
    assert "X-Warning" not in given


def test_counting(client: Client, recorder: Recorder) -> None:
    response = post(client, "/api/video/frames?fps=2&max_frames=5&method=interval")
    assert response.status_code == 200
    assert recorder.works == [FilmWork("none", sampling="interval", fps=2, max_frames=5)]
    body = response.get_json()
    assert (body["success"], body["frame_count"]) == (True, 5)
    assert (body["width"], body["height"], body["frame_rate"]) == (64, 48, 29.97)
    assert VideoFrames.model_validate(body, extra="forbid").sound == "aac"
    assert message(post(client, "/api/video/frames", b" "), 400, "Not a film") == "Not a film"


@pytest.mark.parametrize(
    "query",
    [
        "",
        "output_format=zip&model=base&job=false",
        "output_format=mp4",
        "output_format=mp4&method=interval",
        "output_format=mkv&colormap=turbo&codec=hevc&start=1&duration=2",
        "fps=2&max_frames=5&invert=true",
    ],
)
def test_counting_is_about_the_frames_that_depth_makes(
    client: Client, recorder: Recorder, query: str
) -> None:
    for route in ("depth", "frames"):
        assert post(client, f"/api/video/{route}?{query}").status_code == 200
    made, counted = recorder.works
    assert counted.output == "none"
    for name in ("sampling", "fps", "max_frames", "start", "seconds"):
        assert getattr(counted, name) == getattr(made, name), name


@pytest.mark.parametrize("route", ["depth", "sbs", "frames"])
def test_without_a_film(client: Client, route: str) -> None:
    path = f"/api/video/{route}"
    other = {"image": (io.BytesIO(FILM), "a.mp4")}
    nameless = {"video": (io.BytesIO(FILM), "")}
    for data in (None, {"video": "text"}, other, nameless):
        response = client.post(path, data=data, content_type="multipart/form-data")
        assert "key 'video'" in message(response, 400, "No video provided")
    assert "key 'video'" in message(client.post(path), 400, "No video provided")
    assert client.get(path).status_code == 405


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("depth?codec=h264", "codec: only with output_format"),
        ("depth?nothing=1", "nothing: no option here"),
        ("sbs?stereo=left&swap=true", "ask for stereo=right"),
        ("sbs?fps=2", "fps: no option here"),
        ("frames?divergence=2", "divergence: no option here"),
        ("frames?codec=h264", "codec: only with output_format"),
        ("frames?job=true", "job: frames are counted at once"),
    ],
)
def test_options_without_meaning(client: Client, path: str, found: str) -> None:
    assert found in message(post(client, f"/api/video/{path}"), 400, "Invalid option")


@pytest.mark.parametrize("route", ["depth", "sbs", "frames"])
def test_an_unknown_model_is_refused_before_the_film_is_read(client: Client, route: str) -> None:
    for key in ("huge", "ViT-L-14"):
        response = client.post(f"/api/video/{route}?model={key}")
        assert response.status_code == 400
        assert response.get_json()["error"] != "No video provided"
        assert post(client, f"/api/video/{route}", model=key).status_code == 400


def test_films_may_be_larger_than_other_bodies(client: Client) -> None:
    film = bytes(290_000)
    assert post(client, "/api/video/depth", film).status_code == 200
    assert post(client, "/api//video///depth", film).status_code == 200
    found = message(post(client, "/api/video/depth", bytes(310_000)), 413, "Too large")
    assert "at most 300000 are accepted (MAX_VIDEO_BYTES)" in found
    other = client.post("/api/depth", data={"image": (io.BytesIO(film), "a.png")})
    assert "100000 are accepted (MAX_UPLOAD_BYTES)" in message(other, 413, "Too large")


def test_a_film_that_would_fill_the_disk_is_refused(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = os.statvfs("/tmp")
    spare = free.f_bavail * free.f_frsize - 100_000
    monkeypatch.setattr(bodies, "_SPARE_DISK_BYTES", spare + 50_000_000)
    found = message(post(client, "/api/video/depth"), 503, "Out of resources")
    assert "disk for temporary files" in found
    assert "/tmp" not in found


def test_a_job_on_a_full_disk_is_refused_and_keeps_no_place(
    client: Client, app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: Path) -> None:
        raise OSError(errno.ENOSPC, "/secret")

    monkeypatch.setattr(store, "locked", fail)
    found = message(post(client, "/api/video/depth?job=true"), 503, "Out of resources")
    assert "secret" not in found
    home = app.extensions["twinlens"].jobs.home.path()
    assert list(home.glob(".new-*")) == []
