# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Peak memory of single requests: ``python -m benchmarks.peak --cache CACHE``.

For photos of 12 and 50 megapixels: the worker's resident set at rest, its highest while the request
runs (Linux, /proc/PID/clear_refs and VmHWM), and the difference, in MB (2**20 bytes).
"""

from __future__ import annotations

import argparse
import base64
import io
import tempfile
from pathlib import Path

import psutil
from PIL import Image

from benchmarks.service import Service

SIZES = {"12 MP": (4000, 3000), "50 MP": (8160, 6120)}


def photo(width: int, height: int) -> bytes:
    """A JPEG with some detail."""
    file = io.BytesIO()
    image = Image.effect_mandelbrot((width // 4, height // 4), (-2, -1, 1, 1), 100)
    image.resize((width, height)).convert("RGB").save(file, "JPEG", quality=92)
    return file.getvalue()


def highest_mb(pid: int) -> float:
    """The highest resident set since the last reset."""
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
            requests = {
                "depth, multipart": lambda data=data: service.post(
                    "/api/depth", files={"image": ("a.jpg", data)}
                ),
                "embed, multipart": lambda data=data: service.post(
                    "/embed-image", files={"image": ("a.jpg", data)}
                ),
                "embed, base64": lambda text=text: service.post(
                    "/embed-image", json={"image_base64": text}
                ),
            }
            for kind, ask in requests.items():
                ask()  # so that only the second one counts, with everything in place
                rest = psutil.Process(worker.pid).memory_info().rss / 2**20
                Path(f"/proc/{worker.pid}/clear_refs").write_text("5")
                code = ask().status_code
                top = highest_mb(worker.pid)
                print(
                    f"{name} ({len(data) / 1e6:.1f} MB file), {kind}: {code}, "
                    f"at rest {rest:.0f} MB, highest {top:.0f} MB, difference {top - rest:.0f} MB"
                )


if __name__ == "__main__":
    main()
