# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""``python -m benchmarks.checkpoints --out CACHE [--models small,ViT-B-16] [--tiny]``.

Makes checkpoints of these models with random weights in a hub cache.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

from benchmarks.checkpoints import clip, depth, depth3, siglip
from benchmarks.checkpoints.hub_cache import Repository


def make(key: str, *, small_scale: bool) -> list[Repository]:
    """Make a model's repositories: for CLIP one in each of two formats, otherwise only one."""
    if key in depth.SHAPES:
        return [depth.make(key, small_scale)]
    if key in depth3.SHAPES:
        return [depth3.make(key, small_scale)]
    if key in siglip.SHAPES:
        return [siglip.make(key, small_scale)]
    return list(clip.make(key, small_scale))


def main() -> None:
    """Make the checkpoints that the command line names, except those that exist already."""
    usual = [*depth.SHAPES, *clip.SHAPES]
    shapes: dict[str, Any] = {**depth.SHAPES, **clip.SHAPES, **depth3.SHAPES, **siglip.SHAPES}
    parser = argparse.ArgumentParser(description="Make random-weight checkpoints.")
    parser.add_argument("--out", type=Path, required=True, help="folder to use as HF_HUB_CACHE")
    parser.add_argument(
        "--models", default=",".join(usual), help=f"comma list; default: {', '.join(usual)}"
    )
    parser.add_argument("--tiny", action="store_true", help="same architectures, a few layers")
    options = parser.parse_args()
    for key in options.models.split(","):
        if key not in shapes:
            parser.error(f"unknown model {key!r}; known: {', '.join(shapes)}")
        name = shapes[key].repository
        if (options.out / f"models--{name.replace('/', '--')}/refs/main").exists():
            continue
        started = time.monotonic()
        for repository in make(key, small_scale=options.tiny):
            repository.write(options.out)
        print(f"{key}: random weights made in {time.monotonic() - started:.0f} s", flush=True)


if __name__ == "__main__":
    main()
