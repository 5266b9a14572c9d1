# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Attacks by films: references to other files and hosts, absurd sizes and counts, broken bytes."""

from __future__ import annotations

import io
import os
import socket
import struct
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import av
import pytest

from app.video import containers
from benchmarks.service import PROJECT
from tests.attacks.film_runner import WORKS
from tests.attacks.mutations import mutations
from tests.films import numbered as films

# `make fuzz` sets a higher number.
COUNT = int(os.environ.get("FUZZ_FILMS", "240"))
_BATCH = 120


def read(paths: Sequence[Path]) -> list[str]:
    """What the reader says of each of the files, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.attacks.film_runner", *map(str, paths)],
        cwd=PROJECT, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    lines = done.stdout.splitlines()
    results = [line.removeprefix(f"{path} ") for line, path in zip(lines, paths, strict=False)]
    assert done.returncode == 0, (
        f"the process ended with {done.returncode} on {paths[len(lines)]} {done.stderr[-2000:]}"
    )
    assert not done.stderr
    return results


def read_all(folder: Path, *films: bytes) -> list[str]:
    paths = [folder / f"film{i}" for i in range(len(films))]
    for path, data in zip(paths, films, strict=True):
        path.write_bytes(data)
    return read(paths)


class Bait:
    """A file and an address that nobody may open."""

    def __init__(self, folder: Path, listener: socket.socket) -> None:
        self.path = folder / "secret.mp4"
        # Whoever opens it to read waits for a writer, and so is seen.
        os.mkfifo(self.path)
        self._listener = listener
        self.url = f"http://127.0.0.1:{listener.getsockname()[1]}/film.mp4"

    def assert_untouched(self) -> None:
        with pytest.raises(OSError, match="No such device or address"):
            os.open(self.path, os.O_WRONLY | os.O_NONBLOCK)
        with pytest.raises(BlockingIOError):
            self._listener.accept()


@pytest.fixture
def bait(tmp_path: Path) -> Iterator[Bait]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        yield Bait(tmp_path, listener)


PLAYLISTS = {
    "hls": "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n{}\n#EXT-X-ENDLIST\n",
    "concat": "ffconcat version 1.0\nfile '{}'\n",
    "dash": '<?xml version="1.0"?><MPD><Period><AdaptationSet><Representation><BaseURL>{}'
    "</BaseURL></Representation></AdaptationSet></Period></MPD>",
    "asx": '<asx version="3.0"><entry><ref href="{}"/></entry></asx>',
    "pls": "[playlist]\nFile1={}\n",
    "rtsp text": "RTSPtext\n{}\n",
    "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\nc=IN IP4 127.0.0.1\nm=video 5000 RTP/AVP 96\na={}\n",
    "avisynth": 'AviSource("{}")\n',
    "vobsub": "# VobSub index file, v7\nid: en, index: 0\n# {}\n",
    "image list": "%d{}\n",
}


def test_playlists_are_not_followed(bait: Bait, tmp_path: Path) -> None:
    paths = []
    for name, text in PLAYLISTS.items():
        for i, target in enumerate((str(bait.path), f"file:{bait.path}", bait.url)):
            playlist = text.format(target).encode()
            # as it is, and behind the beginning of a film
            for j, head in enumerate((b"", b"\0\0\0\x14ftypisom\0\0\0\0isom")):
                paths.append(tmp_path / f"{name}-{i}-{j}".replace(" ", "-"))
                paths[-1].write_bytes(head + playlist)
    results = read(paths)
    assert [result[:11] for result in results] == ["refused 400"] * len(paths)
    bait.assert_untouched()


def with_reference(path: str) -> bytes:
    """A QuickTime film whose frames are in another file, named as old Macs do."""
    data = films.film("mov", "mjpeg", layout="yuvj420p", is_full=True, count=2)
    name = path.encode()
    record = bytes(6) + b"\0\x02" + bytes(2) + b"\x04disk" + bytes(23) + bytes(12)
    record += b"\x0asecret.mp4" + bytes(53) + bytes(16) + b"\0\1\0\1" + bytes(16)
    record += struct.pack(">HH", 2, len(name)) + name + b"\0" * (len(name) % 2)
    record += b"\xff\xff\0\0" + bytes(150)
    alias = struct.pack(">I4sI", 12 + len(record), b"alis", 0) + record
    dref = struct.pack(">I4sII", 16 + len(alias), b"dref", 0, 1) + alias
    return replaced(data, [b"moov", b"trak", b"mdia", b"minf", b"dinf", b"dref"], dref)


def replaced(data: bytes, boxes: list[bytes], new: bytes) -> bytes:
    """An MP4 file with another box in the place of the one at the end of a path of boxes."""
    place = 0
    while True:
        size, kind = struct.unpack(">I4s", data[place : place + 8])
        if kind == boxes[0]:
            break
        place += size
    if len(boxes) == 1:
        return data[:place] + new + data[place + size :]
    inner = replaced(data[place + 8 : place + size], boxes[1:], new)
    return data[:place] + struct.pack(">I4s", 8 + len(inner), kind) + inner + data[place + size :]


def test_references_are_not_followed(bait: Bait, tmp_path: Path) -> None:
    made = [with_reference(target) for target in (str(bait.path), bait.url)]
    for data in made:
        wanted: list[str] = []

        def note(url: str, *_: Any, wanted: list[str] = wanted) -> Any:
            wanted.append(url)
            return io.BytesIO()

        # FFmpeg would follow it where that is not forbidden.
        options = {"enable_drefs": "1", "use_absolute_path": "1"}
        av.open(io.BytesIO(data), format="mov", options=options, io_open=note).close()
        assert wanted
    for result in read_all(tmp_path, *made):
        assert result.startswith(("refused 400", "frames"))
    bait.assert_untouched()


def test_a_thousand_tracks(tmp_path: Path) -> None:
    target = io.BytesIO()
    with av.open(target, "w", format="matroska") as output:
        for _ in range(1000):
            track = output.add_stream("mjpeg", rate=1)
            assert isinstance(track, av.video.stream.VideoStream)
            track.width, track.height, track.pix_fmt = 16, 16, "yuvj420p"
        output.mux(track.encode(av.VideoFrame(16, 16, "yuvj420p")))
    (result,) = read_all(tmp_path, target.getvalue())
    assert result.startswith("refused 413")
    assert "more than 32 tracks" in result


def jpegs_of(data: bytes, width: int, height: int, *, after: int = 0) -> bytes:
    """A film of JPEG pictures that claim another size, apart from the first ``after``."""
    parts = data.split(b"\xff\xc0\x00\x11\x08")
    for i in range(1 + after, len(parts)):
        parts[i] = struct.pack(">HH", height, width) + parts[i][4:]
    return b"\xff\xc0\x00\x11\x08".join(parts)


def test_absurd_sizes(tmp_path: Path) -> None:
    jpegs = films.film("avi", "mjpeg", layout="yuvj420p", is_full=True, count=4)
    vp8 = films.film("webm", "libvpx", count=2)
    at = vp8.index(b"\x9d\x01\x2a") + 3
    absurd, late, large, vp8_result = read_all(
        tmp_path,
        jpegs_of(jpegs, 65_000, 65_000),
        jpegs_of(jpegs, 65_000, 65_000, after=2),
        jpegs_of(jpegs, 4000, 3000),
        vp8[:at] + struct.pack("<HH", 16_383, 16_383) + vp8[at + 4 :],
    )
    assert absurd.startswith("refused 4")
    assert late.startswith(("frames 2 The film breaks off", "refused 4"))
    assert large.startswith("refused 400")
    assert "more than 2000000 pixels" in large
    assert vp8_result.startswith("refused 4")


def test_claims_of_billions_of_frames(tmp_path: Path) -> None:
    data = films.film("mov", "mjpeg", layout="yuvj420p", is_full=True, count=4)
    where = [b"moov", b"trak", b"mdia", b"minf", b"stbl"]
    sizes = struct.pack(">I4sIII", 20, b"stsz", 0, 1, 0x1FFFFFFF)
    chunks = struct.pack(">I4sIIIII", 28, b"stsc", 0, 1, 1, 0x1FFFFFFF, 1)
    times = struct.pack(">I4sIIII", 24, b"stts", 0, 1, 0x1FFFFFFF, 1)
    made = []
    for boxes in ([(b"stsz", sizes)], [(b"stsz", sizes), (b"stsc", chunks), (b"stts", times)]):
        made.append(data)
        for name, box in boxes:
            made[-1] = replaced(made[-1], [*where, name], box)
    for result in read_all(tmp_path, *made):
        assert result.startswith(("refused 4", "frames"))


def test_long_film_of_nothing(tmp_path: Path) -> None:
    """A small file of very many frames ends at the limit of frames."""
    data = films.film("matroska", "libx264", count=100, size=(320, 192), key_distance=250)
    assert len(data) < 50_000
    stream = films.film("mpegts", "libx264", count=50, size=(320, 192), key_distance=250)
    stated, unstated = read_all(tmp_path, data, stream * 4)
    assert stated.startswith("refused 413 100 frames of the film are wanted")
    assert unstated.startswith(("frames 60 Only the first", "refused 413"))


def test_seeks_before_the_beginning(tmp_path: Path) -> None:
    """The system's answer to them is no error of the service's."""
    path = tmp_path / "film"
    path.write_bytes(bytes(10))
    with path.open("rb") as file:
        only = containers._OnlyBytes(file)
        assert only.seek(-5) < 0
        assert only.seek(-50, os.SEEK_END) < 0
        assert only.seek(2**70) < 0
        assert only.seek(4) == 4


def originals() -> list[bytes]:
    size = (64, 48)
    ten = {"layout": "yuv422p10le"}
    full = {"layout": "yuvj420p", "is_full": True}
    kinds: tuple[tuple[str, str, dict[str, Any]], ...] = (
        ("mp4", "libx264", {"sound_seconds": 0.2}),
        ("mp4", "libx264", {"muxer": {"movflags": "+frag_keyframe+empty_moov"}}),
        ("mp4", "libx265", {}),
        ("mp4", "libsvtav1", {"size": (64, 64)}),
        ("mp4", "mpeg4", {"turned": (-90, False, False)}),
        ("mov", "prores_ks", ten),
        ("matroska", "libx264", {"sound_seconds": 0.2}),
        ("webm", "libvpx-vp9", {}),
        ("webm", "libvpx", {}),
        ("avi", "libx264", {}),
        ("avi", "mpeg4", {}),
        ("avi", "mjpeg", full),
        ("mpegts", "libx264", {"sound_seconds": 0.2}),
        ("mpegts", "libx265", {}),
    )
    return [films.film(one, two, **{"count": 6, "size": size, **more}) for one, two, more in kinds]


def test_broken_films_are_refused_or_understood(tmp_path: Path) -> None:
    sources = originals()
    paths = []
    for i, data in enumerate(sources):
        paths.append(tmp_path / f"good{i}")
        paths[-1].write_bytes(data)
    assert [result.split()[:2] for result in read(paths)] == [["frames", "6"]] * len(sources)
    counts: Counter[str] = Counter()
    batch: list[Path] = []
    seed = int(os.environ.get("FUZZ_SEED", "1"))
    for i, data in enumerate(mutations(COUNT, seed, sources, head=0.2)):
        batch.append(tmp_path / f"broken{i}{list(WORKS)[i % len(WORKS)]}")
        batch[-1].write_bytes(data)
        if len(batch) == _BATCH or i == COUNT - 1:
            results = read(batch)
            defects = [pair for pair in zip(batch, results, strict=True) if "defect" in pair[1]]
            assert not defects
            counts.update(" ".join(result.split()[:2]) for result in results)
            for path in batch:
                path.unlink()
            batch.clear()
    print(f"\n{COUNT} broken films: {dict(counts)}")
    assert sum(count for name, count in counts.items() if name.startswith("refused")) > COUNT // 20
    assert sum(count for name, count in counts.items() if name.startswith("frames")) > COUNT // 20
