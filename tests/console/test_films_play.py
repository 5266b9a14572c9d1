# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests that films play in a browser: while they are written, and as files afterwards."""

from __future__ import annotations

import io
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Browser

from app.video.sound import Sound
from app.video.work import Codec, FilmWork
from tests.films.written import written
from tests.unit.test_film_sound import source

SIZE, FPS, SECONDS = (160, 96), 25, 3
# Plays the film at /film faster than real time to its end, then goes to a time if it can.
PLAY = """async ({time, seek}) => {
  const video = document.querySelector("video");
  const happens = (name) => new Promise((resolve, reject) => {
    video.addEventListener(name, resolve, {once: true});
    video.addEventListener("error", () => reject(new Error(video.error.message)), {once: true});
  });
  const ended = happens("ended");
  video.playbackRate = 4;
  video.src = "/film";
  await happens("loadedmetadata");
  const expected = video.duration;
  await video.play();
  await ended;
  const found = {
    expected,
    length: video.duration,
    frames: video.getVideoPlaybackQuality().totalVideoFrames,
    sound: video.webkitAudioDecodedByteCount,
  };
  if (seek) {
    const sought = happens("seeked");
    // On a busy machine "seeked" may come before the frame is on the screen.
    const shown = new Promise((resolve) => video.requestVideoFrameCallback(resolve));
    video.pause();
    video.currentTime = time;
    await Promise.all([sought, shown]);
    const canvas = document.createElement("canvas");
    canvas.width = video.videoWidth;
    canvas.height = video.videoHeight;
    const context = canvas.getContext("2d");
    context.drawImage(video, 0, 0);
    found.level = context.getImageData(80, 48, 1, 1).data[0];
  }
  return found;
}"""


def level(number: int) -> int:
    return 20 + 3 * number


@contextmanager
def served(film: bytes, *, as_file: bool) -> Iterator[str]:
    """Serve a page with a video, and a film; as a file in any ranges, else as it is written."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
            if self.path == "/":
                self.answer(200, b"<video muted></video>", {"Content-Type": "text/html"})
            elif self.path != "/film":
                self.answer(404, b"", {})
            elif as_file and asked:
                first, last = int(asked[1]), int(asked[2] or len(film) - 1)
                head = {"Content-Range": f"bytes {first}-{last}/{len(film)}"}
                self.answer(206, film[first : last + 1], head | {"Content-Type": "video/mp4"})
            else:
                self.send_response(200)
                self.send_header("Content-Type", "video/mp4")
                self.end_headers()
                self.wfile.write(film)

        def answer(self, status: int, body: bytes, head: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in head.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/"
        finally:
            server.shutdown()
            thread.join()


def depth_film(codec: Codec) -> bytes:
    images = [np.full(SIZE[::-1], level(i), np.uint8) for i in range(SECONDS * FPS)]
    sound = Sound(io.BytesIO(source("mp4", "aac")))
    return written(images, FilmWork("mp4", codec), rate=Fraction(FPS), sound=sound, seconds=SECONDS)


@pytest.mark.parametrize("codec", ["h264", "av1", "vp9"])
@pytest.mark.parametrize("as_file", [True, False])
def test_a_depth_film_plays(browser: Browser, codec: Codec, as_file: bool) -> None:
    # Frame 38 is on the screen from 1.52 s on, in the middle of the second fragment.
    with served(depth_film(codec), as_file=as_file) as url:
        page = browser.new_page()
        page.goto(url)
        found = page.evaluate(PLAY, {"time": 1.53, "seek": as_file})
        page.close()
    assert found["frames"] == SECONDS * FPS
    assert found["sound"] > 0
    assert found["expected"] == pytest.approx(SECONDS, abs=0.06)
    assert found["length"] == pytest.approx(SECONDS, abs=0.06)
    if as_file:
        assert found["level"] == pytest.approx(level(38), abs=2)
