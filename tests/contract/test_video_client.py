# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests what ImmichVR's backend sends for films (``processVideoDepthMap``, ``processVideoSBS``)."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

import av
import numpy as np
import psutil
import pytest
import requests
from numpy.typing import NDArray
from PIL import Image

from app.blueprints.video_answers import VideoFrames
from benchmarks.service import Service
from tests.contract import check
from tests.films.numbered import SIZE, film, number_of
from tests.pictures import encoded, picture
from tests.services import PHOTO
from tests.waiting import wait_for

RATE, COUNT = 3, 8
#: 2.7 seconds with sound
FILM = film(rate=RATE, count=COUNT, key_distance=3, sound_seconds=2)
#: width and height of a film that is larger than buffers
NOISE = (320, 240)
#: as ImmichVR sends them
DEPTH = {"fps": "1", "max_frames": "30", "method": "interval", "output_format": "zip"}
SBS = {"divergence": "2.0", "format": "SBS_FULL", "codec": "h264", "batch_size": "10"}


def post(
    base: str, route: str, options: Mapping[str, str | int] = {}, data: bytes = FILM
) -> requests.Response:
    """Send a film as ImmichVR does: the file in a form, options in the query."""
    files = {"video": ("IMG 1.x.mp4", data, "video/mp4")}
    return requests.post(
        f"{base}/api/video/{route}", params=dict(options), files=files, timeout=240, stream=True
    )


def maps(answer: requests.Response) -> list[NDArray[np.uint8]]:
    """Check that an answer is a ZIP of maps, and return them in their order."""
    assert answer.status_code == 200, answer.text
    assert answer.headers["Content-Type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.testzip() is None
        names = archive.namelist()
        assert names == [f"depth_frame_{i:04d}.png" for i in range(1, len(names) + 1)]
        images = [Image.open(io.BytesIO(archive.read(name))) for name in names]
    assert {(image.mode, image.format) for image in images} <= {("L", "PNG")}
    return [np.asarray(image) for image in images]


class Film:
    """A film that was received."""

    def __init__(self, answer: requests.Response, kind: str = "video/mp4") -> None:
        assert answer.status_code == 200, answer.text
        assert answer.headers["Content-Type"] == kind
        with av.open(io.BytesIO(answer.content), "r") as container:
            track = container.streams.video[0]
            self.codec = track.codec_context.name
            self.sounds = [each.codec_context.name for each in container.streams.audio]
            frames = list(container.decode(track))
        self.pixels = frames[0].format.name
        self.times = [float(frame.time or 0) for frame in frames]
        self.images = [np.asarray(frame.to_ndarray(format="rgb24"), np.uint8) for frame in frames]
        self.size = frames[0].width, frames[0].height


def test_depth_maps_of_a_film(base: str) -> None:
    answer = post(base, "depth", DEPTH)
    found = maps(answer)
    assert len(found) == 3, "at 0, 1 and 2 seconds"
    for image in found:
        assert image.shape == SIZE[::-1]
        assert (image.min(), image.max()) == (0, 255)
    name = 'attachment; filename="depth_frames_IMG 1.x.zip"'
    assert answer.headers["Content-Disposition"] == name
    assert answer.headers["X-Model-Used"] == "small"
    assert answer.headers["X-Model-Weights"] == "random"


def test_the_maps_are_those_of_the_frames(service: Service) -> None:
    """A frame's map in the ZIP is what POST /api/depth answers with for that frame."""
    base = service.url("").rstrip("/")
    (found,) = maps(post(base, "depth", DEPTH | {"max_frames": "1"}))
    with av.open(io.BytesIO(FILM), "r") as container:
        frame = Image.fromarray(next(container.decode(video=0)).to_ndarray(format="rgb24"))
    files = {"image": ("a.png", encoded(frame))}
    single = check.depth_map(service.post("/api/depth", files=files))
    assert np.abs(found.astype(int) - single).mean() < 3


def test_key_frames(service: Service) -> None:
    base = service.url("").rstrip("/")
    assert len(maps(post(base, "depth", DEPTH | {"method": "keyframes"}))) == 3
    assert len(maps(post(base, "depth", {"method": "keyframes", "max_frames": 2}))) == 2


@pytest.mark.parametrize(("layout", "width"), [("SBS_FULL", 2 * SIZE[0]), ("SBS_HALF", SIZE[0])])
def test_a_3d_film(base: str, layout: str, width: int) -> None:
    answer = post(base, "sbs", SBS | {"format": layout})
    made = Film(answer)
    assert answer.headers["Content-Disposition"] == 'attachment; filename="sbs_IMG 1.x.mp4"'
    assert (made.codec, made.size) == ("h264", (width, SIZE[1]))
    assert made.times == pytest.approx([i / RATE for i in range(COUNT)], abs=0.002)
    assert made.sounds == ["aac"]
    for i, image in enumerate(made.images):
        left, right = image[:, : width // 2], image[:, width // 2 :]
        assert number_of(left) == number_of(right) == i


def test_a_3d_film_in_hevc(service: Service) -> None:
    base = service.url("").rstrip("/")
    assert Film(post(base, "sbs", SBS | {"codec": "hevc"})).codec == "hevc"


@pytest.mark.parametrize(
    ("options", "size", "name"),
    [
        ({"stereo": "sbs"}, (320, 96), "IMG 1.x_LRF_Full_SBS.mp4"),
        ({"stereo": "tb", "swap": "true"}, (160, 192), "IMG 1.x_BTF_fullbt.mp4"),
        ({"stereo": "anaglyph", "start": "1", "duration": "1"}, (160, 96), "IMG 1.x_redcyan.mp4"),
    ],
)
def test_other_arrangements(
    service: Service, options: dict[str, str], size: tuple[int, int], name: str
) -> None:
    answer = post(service.url("").rstrip("/"), "sbs", options)
    made = Film(answer)
    assert made.size == size
    assert len(made.images) == (RATE if "start" in options else COUNT)
    assert answer.headers["Content-Disposition"] == f'attachment; filename="{name}"'


def test_depth_films(service: Service) -> None:
    base = service.url("").rstrip("/")
    mp4 = Film(post(base, "depth", {"output_format": "mp4"}))
    assert (mp4.codec, mp4.size, len(mp4.images)) == ("h264", SIZE, COUNT)
    assert mp4.sounds == ["aac"]
    coloured = Film(post(base, "depth", {"output_format": "mp4", "colormap": "turbo", "fps": 1}))
    assert len(coloured.images) == 3
    assert np.ptp(coloured.images[0].astype(int), axis=2).max() > 100, "colours"
    mkv = Film(post(base, "depth", {"output_format": "mkv"}), "video/x-matroska")
    assert (mkv.codec, mkv.size, mkv.pixels) == ("ffv1", SIZE, "gray16le")


def test_counting_frames(service: Service) -> None:
    base = service.url("").rstrip("/")
    body = check.json(post(base, "frames", {"fps": 1, "max_frames": 30, "method": "interval"}))
    assert (body["success"], body["frame_count"]) == (True, 3)
    assert (body["width"], body["height"], body["frame_rate"]) == (*SIZE, RATE)
    assert VideoFrames.model_validate(body, extra="forbid").codec == "h264"
    assert check.json(post(base, "frames", {"fps": RATE, "max_frames": 7}))["frame_count"] == 7
    assert check.json(post(base, "frames", {"output_format": "mp4"}))["frame_count"] == COUNT


def test_without_a_film(base: str) -> None:
    for route in ("depth", "sbs", "frames"):
        answer = requests.post(f"{base}/api/video/{route}", timeout=240)
        assert "key 'video'" in check.error(answer, 400, "No video provided")
        files = {"image": ("a.jpg", PHOTO)}
        answer = requests.post(f"{base}/api/video/{route}", files=files, timeout=240)
        check.error(answer, 400, "No video provided")


@pytest.mark.parametrize("route", ["depth", "sbs", "frames"])
@pytest.mark.parametrize(
    "data",
    [b"", b"not a film", PHOTO, FILM[: len(FILM) // 2], b"#EXTM3U\nfile:///etc/passwd\n"],
    ids=["empty", "text", "photo", "without its end", "playlist"],
)
def test_what_is_no_film(service: Service, route: str, data: bytes) -> None:
    message = check.error(post(service.url("").rstrip("/"), route, data=data), 400)
    assert "/" not in message.replace("MP4/MOV", "").replace("MKV/WebM", ""), message


def test_options_are_checked(service: Service) -> None:
    base = service.url("").rstrip("/")
    answer = post(base, "depth", DEPTH | {"codec": "h264"})
    assert "codec" in check.error(answer, 400, "Invalid option")
    check.error(post(base, "sbs", {"model": "huge"}), 400, "Unknown model")


def film_processes(service: Service) -> list[psutil.Process]:
    """Return the processes that work on films."""
    found = []
    for child in psutil.Process(service.pid).children(recursive=True):
        with suppress(psutil.Error):
            if "app.video.process" in child.cmdline():
                found.append(child)
    return found


@pytest.fixture(scope="module")
def strict(start: Callable[..., Service], hub: Path) -> Service:
    """Start a service that makes one film at a time, and takes small films only."""
    return start(
        HF_HUB_CACHE=hub,
        VIDEO_CONCURRENCY=1,
        MAX_VIDEO_BYTES=20_000_000,
        MAX_VIDEO_PIXELS=NOISE[0] * NOISE[1],
        SERVICE_API_KEY="secret",
        SERVICE_API_KEY_FOR="embedding",
    )


@pytest.fixture(scope="module")
def noisy() -> bytes:
    """Make a film of noise, whose 3D film is larger than all buffers on its way to a client.

    A client that does not read it can be sure that it is being made.
    """
    generator = np.random.default_rng(0)
    target = io.BytesIO()
    with av.open(target, "w", format="avi") as output:
        track = output.add_stream("mjpeg", rate=25, options={"qmin": "4", "qmax": "4"})
        assert isinstance(track, av.VideoStream)
        track.width, track.height = NOISE
        track.pix_fmt = "yuvj420p"
        for _ in range(200):
            image = generator.integers(0, 256, (*NOISE[::-1], 3), np.uint8)
            output.mux(track.encode(av.VideoFrame.from_ndarray(image)))
        output.mux(track.encode(None))
    return target.getvalue()


@pytest.mark.parametrize("way", ["killed", "hang-up"])
def test_a_film_that_is_not_completed(strict: Service, noisy: bytes, way: str) -> None:
    """It does not look complete, and its process ends; then there is room for the next one."""
    base = strict.url("").rstrip("/")
    answer = post(base, "sbs", data=noisy)
    assert answer.status_code == 200
    parts = answer.iter_content(1000)
    next(parts)
    (process,) = film_processes(strict)
    busy = post(base, "sbs")
    check.error(busy, 429)
    assert int(busy.headers["Retry-After"]) > 0
    files = {"image": ("a.png", encoded(picture(60, 40)))}
    check.depth_map(strict.post("/api/depth", files=files))  # films do not keep photos waiting
    if way == "killed":
        process.kill()
        with pytest.raises((requests.exceptions.ChunkedEncodingError, requests.ConnectionError)):
            for _ in parts:
                pass
    else:
        answer.close()
    wait_for(lambda: not film_processes(strict), service=strict)
    wait_for(lambda: check_free(base), service=strict)


def check_free(base: str) -> bool:
    """Return whether a film can be made."""
    with post(base, "depth", {"max_frames": 1}) as answer:
        return answer.status_code == 200 and bool(answer.content)


def test_limits(strict: Service) -> None:
    base = strict.url("").rstrip("/")
    found = check.error(post(base, "sbs", data=FILM + bytes(20_000_000)), 413)
    assert "MAX_VIDEO_BYTES" in found
    larger = film(count=2, size=(NOISE[0], NOISE[1] + 16))
    assert "MAX_VIDEO_PIXELS" in check.error(post(base, "sbs", data=larger), 413)


def test_films_belong_to_depth(strict: Service) -> None:
    """The key is for the routes of embedding only here."""
    base = strict.url("").rstrip("/")
    assert post(base, "frames").status_code == 200
    check.error(strict.get("/models"), 401)


def test_the_index_names_the_routes(service: Service) -> None:
    named = check.json(service.get("/"))["endpoints"]
    assert named["video_sbs"] == "/api/video/sbs (POST)"
