# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests ``embed`` and ``depth`` on libraries: manifests, object stores, kills and shards."""

from __future__ import annotations

import json
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pyarrow.parquet as pq
import pytest
from moto.server import ThreadedMotoServer

from benchmarks.service import PROJECT, Service
from tests.contract import check
from tests.pictures import encoded, picture, rotated_jpeg
from tests.process.folders import command, environ, run
from tests.waiting import wait_for

MODEL = ("--model", "ViT-B-16")
VECTOR = ["id", "path", "embedding", "width", "height", "model"]
COLUMNS = [*VECTOR, "revision", "precision", "preprocess_version", "error"]
Rows = dict[str, dict[str, Any]]


def rows(path: Path) -> Rows:
    """Read rows by their ids, each of which may come only once."""
    table = pq.read_table(path).to_pylist()
    found = {row["id"]: row for row in table}
    assert len(found) == len(table)
    return found


class SlowHost(ThreadingHTTPServer):
    """Serves pictures, but none before ``open`` is set."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.open = threading.Event()
        self.asked: list[str] = []


class _Handler(BaseHTTPRequestHandler):
    server: SlowHost

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        self.server.open.wait(60)
        content = encoded(picture(40, 30, len(self.path)))
        try:
            self.send_response(200)
            self.send_header("Content-Type", "image/png")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)
        except OSError:  # the client was killed
            self.close_connection = True

    def log_message(self, format: str, *arguments: object) -> None:
        pass


@contextmanager
def slow_host() -> Iterator[tuple[SlowHost, str]]:
    with SlowHost() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield server, f"http://127.0.0.1:{server.server_port}"
        finally:
            server.open.set()
            server.shutdown()


def test_a_killed_run_is_gone_on_with(hub: Path, service: Service, tmp_path: Path) -> None:
    photos, out = tmp_path / "photos", tmp_path / "vectors.parquet"
    photos.mkdir()
    turned = rotated_jpeg(picture(60, 40))
    for number in range(30):
        content = turned if number == 7 else encoded(picture(48, 36, number + 1))
        (photos / f"{number}.png").write_bytes(content)
    (photos / "3.png").write_bytes(b"no picture")
    fetch = {"ALLOW_REMOTE_IMAGE_URLS": "true", "ALLOWED_PRIVATE_NETWORKS": "127.0.0.0/8"}
    with slow_host() as (host, url):
        manifest = tmp_path / "list.jsonl"
        lines: list[dict[str, str]] = [
            {"id": f"n{number}", "path": f"photos/{number}.png"} for number in range(30)
        ]
        lines += [{"id": f"w{number}", "url": f"{url}/{number}.png"} for number in range(3)]
        manifest.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
        arguments = ("embed", manifest, "-o", out, *MODEL)
        with subprocess.Popen(
            command(*arguments), cwd=PROJECT, env=environ(hub) | fetch, stderr=subprocess.PIPE
        ) as process:
            parts = Path(f"{out}.parts")
            # The host gives nothing, so the run cannot end; all else is written after a while.
            wait_for(lambda: parts.is_dir() and sum(map(count, parts.glob("part*"))) == 30)
            assert process.poll() is None
            assert not out.exists()
            process.send_signal(signal.SIGKILL)
            process.communicate()
        assert sorted(host.asked) == ["/0.png", "/1.png", "/2.png"]
        before = rows(parts)
        host.open.set()
        again = run(hub, *arguments, **fetch)
    assert again.returncode == 0, again.stderr
    assert "33 pictures: 3 done, 30 done before, 0 failed" in again.stderr
    assert "1 pictures failed in earlier runs" in again.stderr
    assert not parts.exists()
    found = rows(out)
    assert found.keys() == {line["id"] for line in lines}
    assert {id: found[id] for id in before} == before
    assert list(found["n0"]) == COLUMNS
    assert found["n3"]["error"] is not None
    assert found["n3"]["embedding"] is None
    assert found["w1"]["path"] == f"{url}/1.png"
    assert found["n0"]["path"] == str(photos / "0.png")

    row = found["n7"]
    answer = check.json(
        service.post("/embed-image", files={"image": ("a", turned)}, data={"model": MODEL[1]})
    )
    assert (row["width"], row["height"]) == (40, 60), "upright"
    assert row["model"] == answer["model"]
    assert float(np.dot(row["embedding"], answer["embedding"])) > 0.9999

    (photos / "3.png").write_bytes(encoded(picture(48, 36)))
    retried = run(hub, *arguments, "--retry-errors", **fetch)
    assert "33 pictures: 1 done, 32 done before, 0 failed" in retried.stderr
    fixed = rows(out)
    assert fixed.keys() == found.keys()
    assert fixed["n3"]["error"] is None
    other = run(hub, *arguments, "--no-normalize", **fetch)
    assert other.returncode == 2
    assert "was made with" in other.stderr


def count(part: Path) -> int:
    return int(pq.read_metadata(part).num_rows)


def test_shards_fill_one_folder_for_clip_retrieval(hub: Path, tmp_path: Path) -> None:
    photos, out = tmp_path / "photos", tmp_path / "index"
    (photos / "below").mkdir(parents=True)
    for number in range(9):
        (photos / "below" / f"{number}.png").write_bytes(encoded(picture(40, 30, number + 1)))
    (photos / "broken.png").write_bytes(encoded(picture(40, 30))[:60])
    (photos / "notes.txt").write_text("no picture")
    arguments = ("embed", photos, "-o", out, "--format", "clip-retrieval", *MODEL)
    runs = [run(hub, *arguments, "--shard", f"{index}/2") for index in range(2)]
    done = [int(each.stderr.split(" pictures: ")[1].split(" done")[0]) for each in runs]
    assert sum(done) == 9
    assert not (out / "img_emb").exists()
    last = run(hub, *arguments)
    assert last.returncode == 0, last.stderr
    assert "10 pictures: 0 done, 10 done before, 0 failed" in last.stderr
    assert "openvino" not in last.stderr, "no model was loaded"
    vectors = np.load(out / "img_emb" / "img_emb_0.npy")
    metadata = pq.read_table(out / "metadata" / "metadata_0.parquet").to_pylist()
    assert vectors.dtype == np.float16
    assert vectors.shape == (9, 512)
    parts = rows(out / "parts")
    assert len(parts) == 10
    for vector, row in zip(vectors, metadata, strict=True):
        expected = parts[row["image_path"]]
        np.testing.assert_array_equal(vector, np.array(expected["embedding"], np.float16))


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Yield the address of a bucket on an S3 server of our own."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    try:
        fsspec.filesystem("s3", skip_instance_cache=True).mkdir("twinlens-test")
        yield "s3://twinlens-test"
    finally:
        server.stop()


def test_maps_of_one_bucket_go_to_another_place(
    hub: Path, service: Service, bucket: str, tmp_path: Path
) -> None:
    store = fsspec.filesystem("s3", skip_instance_cache=True)
    photo = rotated_jpeg(picture(60, 40))
    store.pipe_file(f"{bucket}/photos/2026/a.jpg", photo)
    store.pipe_file(f"{bucket}/photos/b.png", encoded(picture(40, 30)))
    store.pipe_file(f"{bucket}/photos/broken.jpg", b"no picture")
    store.pipe_file(f"{bucket}/photos/notes.txt", b"no picture")
    arguments = ("depth", f"{bucket}/photos/", "-o", f"{bucket}/maps/")
    first = run(hub, *arguments)
    assert first.returncode == 1, first.stderr
    assert "3 pictures: 2 done, 0 done before, 1 failed" in first.stderr

    def listed() -> Rows:
        store.invalidate_cache()
        found: Rows = {}
        for name in store.glob(f"{bucket}/maps/done/*.parquet"):
            with store.open(name) as file:
                found |= {row["id"]: row for row in pq.read_table(file).to_pylist()}
        return found

    done = listed()
    row = done[f"{bucket}/photos/2026/a.jpg"]
    answer = service.post("/api/depth", files={"image": ("a", photo)})
    assert store.cat_file(f"{bucket}/maps/{row['map']}") == answer.content
    assert (row["width"], row["height"]) == (40, 60)
    assert done[f"{bucket}/photos/broken.jpg"]["error"]
    assert done[f"{bucket}/photos/broken.jpg"]["map"] is None
    again = run(hub, *arguments)
    assert "3 pictures: 0 done, 3 done before, 0 failed" in again.stderr
    assert listed() == done

    # Vectors of the same bucket, named in a manifest that lies there, too.
    manifest = "id,path\n1,photos/b.png\n2,photos/gone.png\n"
    store.pipe_file(f"{bucket}/list.csv", manifest.encode())
    out = tmp_path / "vectors.parquet"
    embedded = run(hub, "embed", f"{bucket}/list.csv", "-o", out, *MODEL)
    assert embedded.returncode == 1, embedded.stderr
    found = rows(out)
    assert found["1"]["path"] == f"{bucket}/photos/b.png"
    assert found["1"]["error"] is None
    assert found["2"]["error"] == "It does not exist"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("embed", "list.csv", "-o", "v.jsonl"), "no file or folder of this machine"),
        (("embed", "photos", "-o", "v.jsonl", "--float32"), "--float32 is for -o NAME.parquet"),
        (
            ("embed", "photos", "-o", "v.txt"),
            "allowed: a name that ends in .parquet, .jsonl or .npz, or a folder/",
        ),
        (("embed", "photos", "-o", "v.parquet", "--shard", "0/2"), "-o is a folder"),
        (("embed", "photos", "-o", "v/", "--shard", "2/2"), "from 0/N to N-1/N"),
        (("embed", "https://example.org/a.jpg", "-o", "v/"), "ALLOW_REMOTE_IMAGE_URLS=true"),
        (("embed", "shard.tar.gz", "-o", "v/"), "decompress it to a .tar first"),
        (("embed", "nowhere://a", "-o", "v/"), "nowhere:// addresses cannot be opened"),
        (("depth", "photos", "-o", "http://example.org/maps/"), "nothing can be written to a web"),
    ],
)
def test_wrong_use_is_told(
    arguments: tuple[str, ...],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from app.cli.main import main

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("app.cli.main.Stop.install", lambda _: None)
    (tmp_path / "photos").mkdir()
    (tmp_path / "list.csv").write_text("id,path\n")
    assert main(arguments) == 2
    assert said in capsys.readouterr().err
    assert {path.name for path in tmp_path.iterdir()} == {"photos", "list.csv"}
