# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Contains the ways to run a torch network on a batch [n, 3, h, w] float32 in the host's memory.

Each way prepares what it needs and returns a function, which is then called again and again. All
ways run under ``torch.inference_mode()``, as in the service.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from app.engines.base import FloatArray
from app.engines.torch.runner import TorchNetwork
from app.host.memory import usable_cores
from app.lending.loaded import LoadedNetwork
from app.models.base import describe_checkpoint
from benchmarks.gpu.ceilings import KINDS
from benchmarks.models import checkpoint_of, first_network, row, with_work
from config.values import FloatName

_WARM_UPS = 3  # calls before a capture, as torch's notes on CUDA graphs recommend

#: Returns outputs [n, ...] as an array on the host or a tensor on the device.
Work = Callable[[], Any]


def load(cache: Path, key: str, precision: FloatName, device: str) -> Any:
    """Load a model onto a device as the service does, but do not warm it up."""
    spec = row(key)
    family = describe_checkpoint(spec, checkpoint_of(spec, cache))
    network = TorchNetwork(family.module("image"), precision, usable_cores())
    network.to_device(device)
    return with_work(LoadedNetwork(family, first_network(spec), network, family.weights()))


def as_service(network: TorchNetwork, batch: FloatArray) -> Work:
    """Run it as the service does, with copies from and to the host; on CUDA as a CUDA graph."""
    return partial(network.infer, batch)


def plain(network: TorchNetwork, batch: FloatArray) -> Work:
    """Run it with the same copies but without a graph, on CUDA's default stream.

    The batch is copied through memory that is pinned anew for each call.
    """

    def run() -> Any:
        pixels = torch.from_numpy(batch)
        if network.device.startswith("cuda"):
            pixels = pixels.pin_memory()
        return network._module(_on_device(network, pixels)).float().cpu().numpy()

    return run


def eager(network: TorchNetwork, batch: FloatArray) -> Work:
    """Run it without copies: the input is on the device, and the output stays there."""
    return partial(network._module, _on_device(network, torch.from_numpy(batch)))


def graph(network: TorchNetwork, batch: FloatArray) -> Work:
    """Run all kernels as one CUDA graph, without copies."""
    return _captured(network._module, _on_device(network, torch.from_numpy(batch)))


def tuned_graph(network: TorchNetwork, batch: FloatArray) -> Work:
    """Run it as ``graph`` does, after cuDNN has tried which of its convolutions is the fastest."""
    torch.backends.cudnn.benchmark = True
    try:
        return graph(network, batch)
    finally:
        torch.backends.cudnn.benchmark = False


def compiled(network: TorchNetwork, batch: FloatArray) -> Work:
    """Run kernels that torch.compile made for this one shape, as one CUDA graph.

    This is torch.compile's mode "reduce-overhead", but with a capture of our own: torch's works
    only in the thread that made it (pytorch issue 123177), and the service has many threads.
    """
    torch.compiler.reset()
    pixels = _on_device(network, torch.from_numpy(batch))
    return _captured(torch.compile(network._module, dynamic=False), pixels)


WAYS: dict[str, Callable[[TorchNetwork, FloatArray], Work]] = {
    "service, with copies": as_service,
    "without graphs, with copies": plain,
    "eager": eager,
    "CUDA graph": graph,
    "CUDA graph, cuDNN tuned": tuned_graph,
    "compiled, CUDA graph": compiled,
}
CUDA_ONLY = (graph, tuned_graph, compiled)


def _on_device(network: TorchNetwork, batch: Tensor) -> Tensor:
    """Return the batch in the type and layout that ``TorchNetwork.infer`` passes to the module."""
    dtype, _ = KINDS[network.precision]
    pixels = batch.to(network.device, non_blocking=True).to(dtype)
    if network.precision == "fp32":
        return pixels
    return pixels.contiguous(memory_format=torch.channels_last)


def _captured(run: Callable[[Tensor], Tensor], pixels: Tensor) -> Work:
    """Record a CUDA graph as https://docs.pytorch.org/docs/stable/notes/cuda.html describes."""
    side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(_WARM_UPS):
            run(pixels)
    torch.cuda.current_stream().wait_stream(side)
    recorded = torch.cuda.CUDAGraph()
    with torch.cuda.graph(recorded):
        outputs = run(pixels)
    return partial(_replayed, recorded, (run, pixels), outputs)


def _replayed(recorded: torch.cuda.CUDAGraph, _read: object, outputs: Tensor) -> Tensor:
    """Replay a graph.

    The graph stores only the addresses of its inputs, so ``_read`` keeps the inputs alive.
    """
    recorded.replay()
    return outputs
