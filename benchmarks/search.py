# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Measures search in a large library: ``python -m benchmarks.search [--rows 1000000]``.

Writes random vectors of 768 in float16 as ``embed`` writes them, opens the file, and searches
it several times. Prints seconds, and the memory of this process, most of which are its libraries.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as app/__main__.py does

import numpy as np
import psutil
import pyarrow.parquet as pq

from app.library import tables
from app.library.groups import estimate
from app.library.nearest import nearest
from app.library.reading import open_vectors
from app.library.rows import Row, schema, table

_DIMS = 768
_GROUP = 32_768
_CHANGES: dict[str, dict[str, Any]] = {
    "plain": {},
    "zstd": {"compression": "zstd"},
    "dictionary": {"use_dictionary": True},
}


def write(path: Path, rows: int, changes: dict[str, Any]) -> None:
    """Write a file of random vectors. ``changes`` to how ``embed`` writes are pyarrow's options."""
    random = np.random.default_rng(0)
    columns = schema(_DIMS, model="ViT-L-14", normalized=True, image_size=224)
    with pq.ParquetWriter(path, columns, **tables.options(columns) | changes) as writer:
        for start in range(0, rows, _GROUP):
            vectors = random.standard_normal((min(_GROUP, rows - start), _DIMS), np.float32)
            vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
            numbers = range(start, start + len(vectors))
            names = [f"photos/{number // 1000}/{number}.jpg" for number in numbers]
            few = [
                Row(name, name, "ViT-L-14", vector, revision="main", preprocess_version=1)
                for name, vector in zip(names, vectors, strict=True)
            ]
            writer.write_table(table(few, columns))


def rss_mb() -> float:
    """Memory of this process, MB."""
    return float(psutil.Process().memory_info().rss) / 2**20


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description="Search in a large library.")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--queries", type=int, default=1)
    parser.add_argument(
        "--written",
        default="plain",
        choices=("plain", "zstd", "dictionary"),
        help="plain: as embed does; zstd: compressed; dictionary: pyarrow's default, which "
        "only pyarrow reads",
    )
    parser.add_argument("--file", type=Path, help="use this one again, if it is there")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        file = options.file or Path(folder, "vectors.parquet")
        if not file.exists():
            write(file, options.rows, _CHANGES[options.written])
        print(f"{file.stat().st_size / 2**20:.0f} MB, {rss_mb():.0f} MB of memory before")
        began = time.perf_counter()
        vectors = open_vectors(str(file))
        print(f"opened {vectors.count} vectors: {time.perf_counter() - began:.2f} s")
        shape = (options.queries, vectors.dims)
        queries = np.random.default_rng(1).standard_normal(shape, np.float32)
        for _ in range(5):
            began, cpu = time.perf_counter(), time.process_time()
            nearest(vectors, queries, 20)
            seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
            print(f"search: {seconds:.2f} s, {cpu:.2f} s of cores, {rss_mb():.0f} MB of memory")
        print(f"--duplicates would take {estimate(vectors.count, vectors.dims) / 60:.0f} minutes")


if __name__ == "__main__":
    main()
