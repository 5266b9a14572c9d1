# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests that bodies cannot use far more memory or time than their size justifies.

The limits are those in docs/security.md, under "What a body may cost".
"""

from __future__ import annotations

import base64
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from benchmarks.service import Service
from tests.contract import check
from tests.services import PHOTO

SIZE = 24 * 2**20
JSON = {"Content-Type": "application/json"}
FORM = {"Content-Type": "multipart/form-data; boundary=b"}
PART = b'--b\r\nContent-Disposition: form-data; name="image"; filename="a.png"'
END = b"\r\n--b--\r\n"


def filled(begin: bytes, unit: bytes, end: bytes) -> bytes:
    return begin + unit * ((SIZE - len(begin) - len(end)) // len(unit)) + end


BODIES = {
    "empty items": ("/embed-batch", JSON, filled(b'{"items":[', b"{},", b"{}]}"), 413),
    "mixed input": ("/v1/embeddings", JSON, filled(b'{"input":[""', b",{}", b"]}"), 413),
    "spaced base64": ("/embed-image", JSON, filled(b'{"image_base64":"', b"AA ", b'AA"}'), 413),
    "escaped base64": ("/embed-image", JSON, filled(b'{"image_base64":"', b"\\n", b'"}'), 400),
    "ignored key": ("/embed-image", JSON, filled(b'{"x":[', b"1,", b'1],"image_url":"a"}'), 413),
    "ignored text": ("/embed-text", JSON, filled(b'{"x":"', "€".encode(), b'","text":" "}'), 400),
    "texts": ("/embed-text", JSON, filled(b'{"texts":[""', b',"' + b"a" * 9000 + b'"', b"]}"), 413),
    "deep": ("/embed-batch", JSON, filled(b"", b'{"items":[', b""), 422),
    "url": ("/embed-image", JSON, filled(b'{"image_url":"http://', b"a", b'"}'), 400),
    "model to load": ("/api/models/builtin-depth/load", JSON, filled(b"[", b"{},", b"{}]"), 413),
    "head of a part": (
        "/api/depth",
        FORM,
        filled(PART + b"\r\nX: ", b"ab", b"\r\n\r\n" + END),
        413,
    ),
    "folded head": ("/api/depth", FORM, filled(PART, b"\r\n a", b"\r\n\r\n" + END), 413),
    "encoded name": (
        "/api/depth",
        FORM,
        filled(PART[:-6] + b"*=a''", b"%41", b"\r\n\r\n" + END),
        413,
    ),
    "parts": ("/api/depth", FORM, filled(b"", PART[:-7] + b"\r\n\r\nx\r\n", END), 413),
    "preamble": ("/api/depth", FORM, filled(b"", b"\r\n--a", b""), 400),
    "epilogue": ("/api/depth", FORM, filled(b"--b--", b"\r\n--b", b""), 400),
    "field": ("/api/depth", FORM, filled(PART[:-18] + b"\r\n\r\n", b"a", END), 413),
    "pairs": (
        "/api/depth",
        {"Content-Type": "application/x-www-form-urlencoded"},
        filled(b"", b"a&", b""),
        400,
    ),
}


@contextmanager
def measured(service: Service, megabytes: float) -> Iterator[None]:
    """Check that the block costs the worker less memory than this, while /health still answers.

    Soon after the block, most of that memory must be free again.
    """
    (worker,) = service.workers()
    done = threading.Event()
    delays: list[float] = []

    def probe() -> None:
        while not done.is_set():
            began = time.monotonic()
            assert service.get("/health").status_code == 200
            delays.append(time.monotonic() - began)

    thread = threading.Thread(target=probe)
    thread.start()
    before = worker.memory_info().rss
    Path(f"/proc/{worker.pid}/clear_refs").write_text("5")  # resets its peak, see proc(5)
    yield
    done.set()
    thread.join()
    lines = Path(f"/proc/{worker.pid}/status").read_text().splitlines()
    (peak,) = (int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))
    assert peak - before < megabytes * 2**20
    assert max(delays) < 5, "half a second is promised; this machine may be busy"
    end = time.monotonic() + 60
    while worker.memory_info().rss - before > 40 * 2**20 and time.monotonic() < end:
        time.sleep(0.1)
    assert worker.memory_info().rss - before < 40 * 2**20


@pytest.fixture(scope="module")
def warm(demo: Service) -> Service:
    """Return the service after its first text, so that memory for loading is not measured."""
    assert demo.post("/embed-text", json={"text": "a cat"}).status_code == 200
    return demo


@pytest.mark.parametrize("name", BODIES)
def test_a_body_costs_little_memory_and_no_pause(warm: Service, name: str) -> None:
    path, headers, body, status = BODIES[name]
    with measured(warm, 4 * SIZE / 2**20 + 50):
        answer = warm.post(path, data=body, headers=headers)
    assert answer.status_code == status, answer.text
    assert len(answer.content) < 3000
    if status == 413:
        assert any(character.isdigit() for character in answer.text), "it names the limit"


def test_names_in_forms_are_bounded(demo: Service) -> None:
    for name, status in (("a" * 1000 + ".png", 200), ("a" * 1025, 413)):
        answer = demo.post("/api/depth", files={"image": (name, PHOTO)})
        assert answer.status_code == status
    data = PART + b"\r\n\r\n" + PHOTO + END
    many = {"Content-Type": "multipart/form-data; boundary=" + "b" * 4000}
    assert demo.post("/api/depth", data=data, headers=many).status_code == 400


def test_a_large_image_within_the_limits(demo: Service) -> None:
    """Base64 in one piece, base64 in lines, and a data URL all give the same vector."""
    plain = base64.b64encode(PHOTO).decode()
    lines = "\n".join(plain[i : i + 76] for i in range(0, len(plain), 76))
    vectors = [
        check.json(demo.post("/embed-image", json={"image_base64": text}))["embedding"]
        for text in (plain, lines, f"data:image/png;base64,{plain}")
    ]
    assert vectors[0] == vectors[1] == vectors[2]


@pytest.fixture(scope="module")
def full(built_in: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Run a service with one megabyte for temporary files, in its own mount namespace."""
    if subprocess.run(["unshare", "-rm", "true"], capture_output=True).returncode:
        pytest.skip("no namespaces here")
    folder = tmp_path_factory.mktemp("full")
    place = folder / "tmp"
    place.mkdir()
    mount = f'mount -t tmpfs -o size=1m tmpfs {place} && exec "$@"'
    service = Service(
        folder / "log",
        TMPDIR=place,
        HF_HUB_CACHE=built_in,
        HF_HUB_OFFLINE=1,
        DEPTH_MODEL="builtin-depth",
        DEFAULT_MODEL="builtin-clip",
    )
    with service.started(["unshare", "-rm", "sh", "-c", mount, "sh"]):
        service.wait_until_warm()
        yield service


def test_a_full_disk_is_503_with_the_reason(full: Service) -> None:
    image = {"image": ("a.png", bytes(5_000_000))}
    for path in ("/api/depth", "/embed-image"):
        answer = full.post(path, files=image)
        assert "full" in check.error(answer, 503)
        assert answer.headers["Retry-After"]
    text = {"image_base64": "A" * 5_000_000}
    assert "full" in check.error(full.post("/embed-image", json=text), 503)
    assert full.post("/embed-image", files={"image": ("a.png", PHOTO)}).status_code == 200
