# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Describes the device, and measures its best speed in matrix products and in copying.

``python -m benchmarks.gpu.ceilings --device cuda`` prints one line of JSON.
"""

from __future__ import annotations

import json
import platform
from importlib.metadata import version

import torch

from benchmarks.gpu.timing import Clock, arguments, check_device

#: for each kind, the dtype of the matrices and torch's precision of float32 products ("high" means
#: tf32)
KINDS: dict[str, tuple[torch.dtype, str]] = {
    "fp16": (torch.float16, "highest"),
    "bf16": (torch.bfloat16, "highest"),
    "tf32": (torch.float32, "high"),
    "fp32": (torch.float32, "highest"),
}
_EDGES, _CPU_EDGES = (4096, 8192), (256,)
_COPIED, _CPU_COPIED = 2**30, 2**24
_LIBRARIES = ("torch", "torchvision", "transformers", "open-clip-torch")


def tflops(clock: Clock, edge: int, dtype: torch.dtype) -> float:
    """Return the TFLOP/s of a product of two matrices [edge, edge].

    The matrices are random, because with zeros the device needs less power and may run faster than
    usual.
    """
    left, right = (torch.randn(edge, edge, device=clock.device).to(dtype) for _ in range(2))
    product = torch.empty_like(left)
    seconds = clock.seconds_of(lambda: torch.mm(left, right, out=product))
    return 2 * edge**3 / seconds / 1e12


def ceilings(clock: Clock) -> dict[str, float]:
    """Return the best TFLOP/s over all sizes for each kind of arithmetic."""
    found = {}
    for kind, (dtype, fp32) in KINDS.items():
        torch.set_float32_matmul_precision(fp32)
        edges = _EDGES if clock.is_cuda else _CPU_EDGES
        found[kind] = max(tflops(clock, edge, dtype) for edge in edges)
    return found


def copying(clock: Clock) -> float:
    """Return the GB/s (1e9 bytes, read and written) of a copy within the device's memory."""
    size = _COPIED if clock.is_cuda else _CPU_COPIED
    one, other = (torch.empty(size, dtype=torch.uint8, device=clock.device) for _ in range(2))
    return 2 * size / clock.seconds_of(lambda: other.copy_(one)) / 1e9


def about(clock: Clock) -> dict[str, str]:
    """Describe the device and the versions of the libraries."""
    versions = {"python": platform.python_version()} | {name: version(name) for name in _LIBRARIES}
    device = "CPU"
    if clock.is_cuda:
        properties = torch.cuda.get_device_properties(clock.device)
        major, minor = properties.major, properties.minor
        memory = properties.total_memory / 2**30
        device = f"{properties.name}, {memory:.0f} GiB, compute capability {major}.{minor}"
        versions |= {
            "CUDA": str(torch.version.cuda),
            "cuDNN": str(torch.backends.cudnn.version()),  # type: ignore[no-untyped-call]
        }
    return {
        "device": device,
        "versions": ", ".join(f"{name} {number}" for name, number in versions.items()),
    }


def main() -> None:
    """Entry point."""
    options = arguments("Ceilings of a device.").parse_args()
    check_device(options.device)
    # An idle GPU takes a while to raise its clock rate, so a GPU is always measured at full length.
    clock = Clock(options.device, quick=options.device == "cpu")
    found = {"TFLOP/s": ceilings(clock), "copy, GB/s": copying(clock), "about": about(clock)}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
