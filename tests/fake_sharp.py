# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Stands in for Apple's program ``sharp`` at its documented command.

``sharp predict -i PHOTO -o FOLDER -c CHECKPOINT`` writes FOLDER/<stem of the photo>.ply: a Gaussian
for each pixel of the photo in 16x12 pixels, at a distance of 2, and elements that tell of the
camera. The file CHECKPOINT says what to do: "wait" (until it is killed), "fail" or "nonsense"; with
anything else it makes splats. Each run adds a line of JSON to CHECKPOINT.runs, and one with the
times of its begin and end to CHECKPOINT.ends.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tests.ply import FIELDS

COLUMNS, ROWS, DISTANCE = 16, 12, 2.0


def predict(photo: Path, target: Path) -> None:
    """Write the PLY of a photo."""
    with Image.open(photo) as image:
        focal_length_35mm = image.getexif().get_ifd(0x8769).get(0xA405, 30)
        width, height = image.size
        small = np.asarray(image.convert("RGB").resize((COLUMNS, ROWS), Image.Resampling.BOX)) / 255
    focal_length = focal_length_35mm * math.hypot(width, height) / math.hypot(36, 24)
    across, down = np.meshgrid((np.arange(COLUMNS) + 0.5) / COLUMNS, (np.arange(ROWS) + 0.5) / ROWS)
    rows = np.zeros((ROWS, COLUMNS, len(FIELDS)), "<f4")
    rows[..., 0] = (across - 0.5) * width / focal_length * DISTANCE
    rows[..., 1] = (down - 0.5) * height / focal_length * DISTANCE
    rows[..., 2] = DISTANCE
    rows[..., 3:6] = (small - 0.5) / 0.28209479177387814
    rows[..., 6] = np.inf  # what it writes for an opacity of 1
    rows[..., 7:10] = np.log(0.05)
    rows[..., 10] = 1
    camera: dict[str, Any] = {
        "extrinsic": np.eye(4, dtype="<f4").ravel(),
        "intrinsic": np.array(
            [focal_length, 0, width / 2, 0, focal_length, height / 2, 0, 0, 1], "<f4"
        ),
        "image_size": np.array([width, height], "<u4"),
        "color_space": np.zeros(1, "u1"),
    }
    kinds = {"<f4": "float", "<u4": "uint", "|u1": "uchar"}
    lines = ["ply", "format binary_little_endian 1.0", f"element vertex {ROWS * COLUMNS}"]
    lines += [f"property float {name}" for name in FIELDS]
    for name, values in camera.items():
        lines += [f"element {name} {len(values)}", f"property {kinds[values.dtype.str]} {name}"]
    parts = [rows.tobytes(), *(values.tobytes() for values in camera.values())]
    target.write_bytes("\n".join([*lines, "end_header\n"]).encode() + b"".join(parts))


def main() -> None:
    """Do what the command line and the checkpoint say."""
    parser = argparse.ArgumentParser()
    parser.add_argument("action", choices=["predict"])
    parser.add_argument("-i", "--input-path", type=Path, required=True)
    parser.add_argument("-o", "--output-path", type=Path, required=True)
    parser.add_argument("-c", "--checkpoint-path", type=Path, required=True)
    options = parser.parse_args()
    wanted = options.checkpoint_path.read_text()
    helper = subprocess.Popen(["sleep", "3600"]) if wanted == "wait" else None
    run = {
        "pids": [os.getpid(), *([helper.pid] if helper else [])],
        "began": time.monotonic(),
        "environment": sorted(os.environ),
        "folder": str(Path.cwd()),
    }
    with Path(f"{options.checkpoint_path}.runs").open("a") as file:
        file.write(json.dumps(run) + "\n")
    if helper:
        helper.wait()
    if wanted == "fail":
        sys.exit("RuntimeError: the stand-in was told to fail")
    options.output_path.mkdir(parents=True, exist_ok=True)
    target = options.output_path / f"{options.input_path.stem}.ply"
    if wanted == "nonsense":
        target.write_bytes(b"ply\nformat ascii 1.0\nend_header\n")
        return
    predict(options.input_path, target)
    with Path(f"{options.checkpoint_path}.ends").open("a") as file:
        file.write(json.dumps([run["began"], time.monotonic()]) + "\n")


if __name__ == "__main__":
    main()
