# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Measures the peak memory of single requests: ``python -m benchmarks.peak --cache CACHE``.

For photos of 12 and 50 megapixels it prints the worker's resident set at rest, the highest while
the request runs (by Linux' /proc/PID/clear_refs and VmHWM), and the difference, all in MB of 2**20
bytes.
"""

from __future__ import annotations

import argparse
import base64
import io
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil
from PIL import Image

from benchmarks.service import Service

SIZES = {"12 MP": (4000, 3000), "50 MP": (8160, 6120)}


def photo(width: int, height: int) -> bytes:
    """Make a JPEG with some detail."""
    file = io.BytesIO()
    image = Image.effect_mandelbrot((width // 4, height // 4), (-2, -1, 1, 1), 100)
    grain = Image.effect_noise((width, height), 10)
    mixed = Image.blend(image.resize((width, height)), grain, 0.3)
    mixed.convert("RGB").save(file, "JPEG", quality=88)
    return file.getvalue()


def highest_mb(pid: int | str) -> float:
    """Return the highest resident set since the last reset, in MB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description="Peak memory of single requests.")
    parser.add_argument("--cache", type=Path, required=True, help="made by benchmarks.checkpoints")
    options = parser.parse_args()
    log = Path(tempfile.mkdtemp()) / "log"
    service = Service(log, HF_HUB_CACHE=options.cache, HF_HUB_OFFLINE=1, DEFAULT_MODEL="ViT-B-16")
    with service.started():
        service.wait_until_ready()
        (worker,) = service.workers()
        for name, size in SIZES.items():
            data = photo(*size)
            text = base64.b64encode(data).decode()
            form: dict[str, Any] = {"files": {"image": ("a.jpg", data)}}
            requests: dict[str, tuple[str, dict[str, Any]]] = {
                "depth, multipart": ("/api/depth", form),
                "splats as ply": ("/api/splat", form),
                "mesh": ("/api/splat?format=glb", form),
                "embed, multipart": ("/embed-image", form),
                "embed, base64": ("/embed-image", {"json": {"image_base64": text}}),
            }
            for kind, (path, body) in requests.items():
                service.post(path, **body)  # a warm-up: only the second request is measured
                time.sleep(2)  # the service returns idle memory to the system within a second
                rest = psutil.Process(worker.pid).memory_info().rss / 2**20
                Path(f"/proc/{worker.pid}/clear_refs").write_text("5")
                code = service.post(path, **body).status_code
                top = highest_mb(worker.pid)
                print(
                    f"{name} ({len(data) / 1e6:.1f} MB file), {kind}: {code}, "
                    f"at rest {rest:.0f} MB, highest {top:.0f} MB, difference {top - rest:.0f} MB"
                )


if __name__ == "__main__":
    main()
