# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Measures how long files of phones and cameras take to decode, and how much memory they need.

``python -m benchmarks.phone_photos`` decodes each file as the service does for a depth map, and as
the replaced services do: all of it with Pillow. Every figure comes from a process of its own: the
median of the milliseconds, and the most memory that decoding added, in MB of 2**20 bytes. The two
ways take turns.
"""

from __future__ import annotations

import argparse
import io
import math
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from PIL import Image

from app.pictures.decode import decode
from benchmarks.inputs import picture
from benchmarks.peak import highest_mb

_ROUNDS = 5
_MAX_PIXELS = 120_000_000
# The shortest edge that depth networks read, and by how much more is decoded, see ``DepthFamily``.
_EDGE = 518 * 1.4


def _jpeg(image: Image.Image, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=90, **options)
    return file.getvalue()


def _multi_picture(image: Image.Image) -> bytes:
    """A JPEG with a small second picture, as phones write for screens with a high dynamic range."""
    file = io.BytesIO()
    small = image.resize((image.width // 4, image.height // 4)).convert("L")
    image.save(file, "MPO", quality=90, save_all=True, append_images=[small])
    return file.getvalue()


def _png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG", compress_level=3)
    return file.getvalue()


def _heic(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "HEIF", quality=70)
    return file.getvalue()


#: by name: the size, and what writes the file
FILES: dict[str, tuple[tuple[int, int], Callable[[Image.Image], bytes]]] = {
    "JPEG 12 MP": ((4000, 3000), _jpeg),
    "JPEG 48 MP": ((8064, 6048), _jpeg),
    "JPEG 48 MP with MPF": ((8064, 6048), _multi_picture),
    "JPEG 48 MP progressive": ((8064, 6048), lambda image: _jpeg(image, progressive=True)),
    "JPEG 108 MP": ((12000, 9000), _jpeg),
    "PNG 24 MP": ((6000, 4000), _png),
    "HEIC 12 MP": ((4032, 3024), _heic),
}


def as_the_service(data: bytes) -> None:
    """Decode as the service does for a depth map."""
    decode(io.BytesIO(data), _MAX_PIXELS, _decode_size)


def with_pillow(data: bytes) -> None:
    """Decode all pixels with Pillow."""
    Image.open(io.BytesIO(data)).convert("RGB")


WAYS = {"service": as_the_service, "pillow": with_pillow}


def _decode_size(width: int, height: int) -> tuple[int, int]:
    scale = _EDGE / min(width, height)
    return math.ceil(width * scale), math.ceil(height * scale)


def measure(file: Path, way: str) -> tuple[float, float]:
    """Decode a file in a new process; returns the milliseconds and the megabytes that it took."""
    command = [sys.executable, "-m", "benchmarks.phone_photos", "--file", str(file), "--way", way]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    return float(said[0]), float(said[1])


def _measure_here(file: Path, way: str) -> None:
    data, run = file.read_bytes(), WAYS[way]
    run(_jpeg(Image.new("RGB", (640, 480))))  # loads what is loaded once
    Path("/proc/self/clear_refs").write_text("5")  # resets the highest resident set
    before = highest_mb("self")
    began = time.perf_counter()
    run(data)
    print((time.perf_counter() - began) * 1000, highest_mb("self") - before)


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description="Decoding of what phones and cameras write.")
    parser.add_argument("--only", default=",".join(FILES), help="comma list of names")
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.file:
        return _measure_here(options.file, options.way)
    print("| file | MB | service, ms | service, MB more | Pillow, ms | Pillow, MB more |")
    print("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for name, (size, write) in FILES.items():
            if name not in options.only.split(","):
                continue
            file = Path(folder) / "photo"
            file.write_bytes(write(picture(*size, seed=0)))
            rounds = [{way: measure(file, way) for way in WAYS} for _ in range(_ROUNDS)]
            cells = [name, f"{file.stat().st_size / 2**20:.1f}"]
            for way in WAYS:
                took = [each[way][0] for each in rounds]
                cells.append(f"{statistics.median(took):.0f} ({min(took):.0f} to {max(took):.0f})")
                cells.append(f"{statistics.median(each[way][1] for each in rounds):.0f}")
            print("| " + " | ".join(cells) + " |", flush=True)
    return None


if __name__ == "__main__":
    main()
