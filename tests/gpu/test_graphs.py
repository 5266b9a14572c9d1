# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests that CUDA graphs give the same outputs as kernels that are launched one by one."""

from __future__ import annotations

import gc
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor

from app.engines.base import FloatArray
from app.engines.torch.cuda_graphs import CudaNetwork
from app.host.cuda import Cuda
from app.runtime import Runtime
from benchmarks.models import Model
from tests.gpu.full import lend

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA or ROCm device here"),
]
ONE, OTHER = (1, 3, 518, 686), (2, 3, 518, 686)


class Counting(Cuda):
    """Counts captures and replays, so that a test notices when a graph was not used."""

    captured = replayed = 0

    def capture(self, *arguments: object) -> object:  # type: ignore[override]
        recorded = super().capture(*arguments)  # type: ignore[arg-type]
        self.captured += 1
        return recorded

    def replay(self, *arguments: object) -> FloatArray:
        self.replayed += 1
        return super().replay(*arguments)  # type: ignore[arg-type]


def network_of(model: Model) -> tuple[CudaNetwork, Counting]:
    """Return a copy of a model's network without captured graphs, and the counter of its graphs."""
    theirs = model.network._cuda
    cuda = Counting.for_networks(model.network.device)
    assert isinstance(cuda, Counting)
    return CudaNetwork(theirs._forward, cuda), cuda


def eager(network: CudaNetwork, batch: FloatArray) -> FloatArray:
    pixels = torch.from_numpy(batch).to("cuda")
    outputs: FloatArray = network._forward(pixels).cpu().numpy()
    return outputs


def batches(*shapes: tuple[int, ...]) -> list[FloatArray]:
    random = np.random.default_rng(0)
    return [random.standard_normal(shape, np.float32) for shape in shapes]


def close(one: FloatArray, other: FloatArray) -> bool:
    """Return whether outputs agree to the three digits of fp16; a graph may use other kernels."""
    return bool(np.allclose(one, other, rtol=1e-2, atol=1e-2 * np.abs(other).max()))


@pytest.mark.parametrize("key", ["small", "ViT-B-16"])
def test_a_graph_gives_what_kernels_one_by_one_give(runtime: Runtime, key: str) -> None:
    shape = ONE if key == "small" else (3, 3, 224, 224)
    with lend(runtime, runtime.registry.get(key)) as model, torch.inference_mode():
        network, cuda = network_of(model)
        different = batches(*[shape] * 4)
        outputs = [network.infer(batch) for batch in different]
        assert (cuda.captured, cuda.replayed) == (1, 3)
        for batch, output in zip(different, outputs, strict=True):
            assert close(output, eager(network, batch))
        assert not close(outputs[1], outputs[2]), "each has its own answer"


def test_two_shapes_in_turn(runtime: Runtime) -> None:
    with lend(runtime, runtime.registry.get("small")) as model, torch.inference_mode():
        network, cuda = network_of(model)
        different = batches(*[ONE, OTHER] * 4)
        outputs = [network.infer(batch) for batch in different]
        assert (cuda.captured, cuda.replayed) == (2, 6)
        for batch, output in zip(different, outputs, strict=True):
            assert close(output, eager(network, batch))


def test_threads_capture_and_replay_beside_each_other(runtime: Runtime) -> None:
    """Each thread has its own stream; while one captures, others compute, allocate and copy."""
    with lend(runtime, runtime.registry.get("small")) as model:
        network, cuda = network_of(model)
        shapes = [(1, 3, 14 * rows, 518) for rows in range(20, 30)]
        different = batches(*shapes)
        with torch.inference_mode():
            expected = [eager(network, batch) for batch in different]

        def infer(batch: FloatArray) -> FloatArray:
            with torch.inference_mode():
                return network.infer(batch)

        with ThreadPoolExecutor(4) as pool:
            for _ in range(6):
                for one, other in zip(pool.map(infer, different), expected, strict=True):
                    assert close(one, other)
        assert cuda.captured
        assert not network._graphs._refused


def test_what_asks_the_host_runs_without_a_graph(caplog: pytest.LogCaptureFixture) -> None:
    def asks(pixels: Tensor) -> Tensor:
        return pixels * 2 if pixels.sum().item() < 1e9 else pixels

    network = CudaNetwork(asks, Cuda.for_networks("cuda"))
    with torch.inference_mode():
        for batch in batches(*[(1, 3, 8, 8)] * 4):
            np.testing.assert_array_equal(network.infer(batch), batch * 2)
    assert caplog.text.count("run without a CUDA graph") == 1


def test_no_memory_gives_up_the_graphs() -> None:
    forward = partial(torch.mul, other=2)
    network = CudaNetwork(forward, Cuda.for_networks("cuda"))
    (small,) = batches((1, 3, 8, 8))
    with torch.inference_mode():
        for _ in range(3):
            network.infer(small)
        assert network._graphs._kept
        free, _ = torch.cuda.mem_get_info()
        # The output is too large for the device, although the input is small.
        network._forward = lambda pixels: torch.empty(2 * free, dtype=torch.uint8, device="cuda")
        with pytest.raises(torch.OutOfMemoryError):
            network.infer(np.zeros((1, 3, 4, 4), np.float32))
        assert not network._graphs._kept
        network._forward = forward
        np.testing.assert_array_equal(network.infer(small), small * 2)
    gc.collect()
