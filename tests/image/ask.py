# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Checks that the service in a container answers; check.sh runs it inside that container."""

import io
import os
import time
from pathlib import Path

import requests
from PIL import Image

DEPTH, EMBEDDER = "http://127.0.0.1:5000", "http://127.0.0.1:8000"


def wait(path: str) -> None:
    end = time.monotonic() + 300
    while True:
        try:
            answer = requests.get(f"{EMBEDDER}{path}", timeout=240)
            if answer.status_code == 200:
                return
            trouble = answer.text
        except requests.ConnectionError as error:
            trouble = str(error)
        assert time.monotonic() < end, f"{path}: {trouble}"
        time.sleep(0.2)


start = time.monotonic()
for path in ("/health", "/ready"):
    wait(path)
    print(f"{path} after {time.monotonic() - start:.1f} s")

photo = io.BytesIO()
Image.linear_gradient("L").resize((640, 480)).convert("RGB").save(photo, "JPEG")
files = {"image": ("photo.jpg", photo.getvalue())}
depth = requests.post(f"{DEPTH}/api/depth", files=files, timeout=240)
assert depth.status_code == 200, depth.text
assert Image.open(io.BytesIO(depth.content)).size == (640, 480)
vector = requests.post(f"{EMBEDDER}/embed-image", files=files, timeout=240)
assert vector.status_code == 200, vector.text
assert len(vector.json()["embedding"]) == vector.json()["dims"]
# A large body is kept in /tmp while it arrives.
large = {"image": ("noise.bmp", b"BM" + bytes(5_000_000))}
assert requests.post(f"{DEPTH}/api/depth", files=large, timeout=240).status_code == 400

assert os.getuid() != 0
for folder in ("/", "/srv", "/venv"):
    try:
        (Path(folder) / "written").touch()
    except OSError:
        continue
    raise AssertionError(f"{folder} can be written")
print("kept in the cache:", sorted(str(path) for path in Path("/cache").glob("*/*")))
