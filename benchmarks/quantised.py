# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Measures what vectors in fewer bytes cost in recall: ``python -m benchmarks.quantised``.

Crops of photographs (of scikit-image and scikit-learn, which have licences that allow it) are
embedded with the built-in CLIP. The queries are crops that were moved a little. For each kind of
vector: how many of the ten nearest crops by float32 are found among the ten nearest by that kind,
and among the forty nearest, from which float16 vectors would choose the best ten.
"""

from __future__ import annotations

import base64
import io
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import requests
from numpy.typing import NDArray
from PIL import Image

from app.tasks.quantised import Kind, quantised
from benchmarks.service import Service

_NAMES = (
    "astronaut",
    "chelsea",
    "coffee",
    "rocket",
    "retina",
    "hubble_deep_field",
    "immunohistochemistry",
)
_CROPS_EACH = 120
_QUERIES_EACH = 15
_NEAREST, _CANDIDATES, _BATCH = 10, 40, 32
Vectors = NDArray[np.float32]
#: what docs/api.md calls each kind, and bytes of one number
KINDS: dict[str, tuple[Kind, float]] = {
    "float16": ("float16", 2),
    "int8": ("int8", 1),
    "binary": ("ubinary", 1 / 8),
}


def photographs() -> Iterator[Image.Image]:
    """Yield photographs that packages bring."""
    from skimage import data
    from sklearn.datasets import load_sample_images

    for name in _NAMES:
        yield Image.fromarray(getattr(data, name)()).convert("RGB")
    for pixels in load_sample_images().images:
        yield Image.fromarray(pixels)


def crops(seed: int) -> tuple[list[bytes], list[bytes]]:
    """Make crops to search in, and crops to search with."""
    numbers = np.random.default_rng(seed)
    stored, queries = [], []
    for photo in photographs():
        width, height = photo.size
        for i in range(_CROPS_EACH):
            side = int(numbers.uniform(0.15, 0.6) * min(width, height))
            x = int(numbers.integers(0, width - side))
            y = int(numbers.integers(0, height - side))
            stored.append(_encoded(photo.crop((x, y, x + side, y + side))))
            if i < _QUERIES_EACH:
                step = max(1, side // 6)
                x, y = min(x + step, width - side), min(y + step, height - side)
                queries.append(_encoded(photo.crop((x, y, x + side, y + side))))
    return stored, queries


def _encoded(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.resize((160, 160)).save(file, "JPEG", quality=90)
    return file.getvalue()


def embedded(service: Service, images: list[bytes]) -> Vectors:
    """Embed images in batches."""
    rows = []
    for start in range(0, len(images), _BATCH):
        items = [
            {"image_base64": base64.b64encode(each).decode()}
            for each in images[start : start + _BATCH]
        ]
        answer = requests.post(service.url("/embed-batch"), json={"items": items}, timeout=300)
        rows += [each["embedding"] for each in answer.json()["results"]]
    return np.array(rows, np.float32)


def comparable(vectors: Vectors, kind: Kind) -> Vectors:
    """Vectors of a kind as floats, so that their cosines order as a database would order."""
    found = np.stack([quantised(each, kind) for each in vectors])
    if kind == "ubinary":  # cosine of signs orders as the Hamming distance does
        found = np.unpackbits(found, axis=1)[:, : vectors.shape[1]].astype(np.float32) * 2 - 1
    floats = found.astype(np.float32)
    normal: Vectors = floats / np.linalg.norm(floats, axis=1, keepdims=True)
    return normal


def nearest(stored: Vectors, queries: Vectors, count: int) -> NDArray[np.intp]:
    """The indexes of the nearest vectors of each query."""
    return np.argsort(-(queries @ stored.T), axis=1, kind="stable")[:, :count]


def recall(expected: NDArray[np.intp], found: NDArray[np.intp]) -> float:
    """The part of the expected ones that was found."""
    pairs = zip(expected, found, strict=True)
    return float(np.mean([np.isin(right, here).mean() for right, here in pairs]))


def main() -> None:
    """Print a table."""
    warnings.simplefilter("ignore")
    stored_images, query_images = crops(5)
    with tempfile.TemporaryDirectory() as folder:
        service = Service(
            Path(folder) / "log",
            DEFAULT_MODEL="builtin-clip",
            DEPTH_MODEL="builtin-depth",
            ENABLED_FAMILIES="embedding",
            HF_HUB_OFFLINE=1,
            HF_HUB_CACHE=folder,
        )
        with service.started():
            service.wait_until_ready()
            stored, queries = embedded(service, stored_images), embedded(service, query_images)
    expected = nearest(stored, queries, _NEAREST)
    dims = stored.shape[1]
    print(f"{len(stored)} vectors of {dims} numbers, {len(queries)} queries")
    for name, (kind, size) in KINDS.items():
        theirs, asked = comparable(stored, kind), comparable(queries, kind)
        alone = recall(expected, nearest(theirs, asked, _NEAREST))
        first = recall(expected, nearest(theirs, asked, _CANDIDATES))
        print(f"{name:8} {size * dims:6.0f} bytes  recall@10 {alone:.3f}  among 40 {first:.3f}")


if __name__ == "__main__":
    main()
