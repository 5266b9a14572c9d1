# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests CUDA graphs without a GPU: which shapes get one, failing captures, and streams."""

from __future__ import annotations

import logging
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from app.engines.torch.cuda_graphs import CudaNetwork, Graphs, Shape
from app.engines.torch.runner import TorchNetwork
from app.host.cuda import Cuda, Streams
from app.models.depth_anything import MEAN, STD
from app.pictures.canvas import normalised
from tests.unit.on_cpu import OnCpu

FULL = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
ONE, OTHER = (1, 3, 14, 14), (2, 3, 14, 28)


def doubled(pixels: Tensor) -> Tensor:
    return pixels.sum(dim=1) * 2


def batch_of(shape: Shape, seed: int = 0) -> np.ndarray[Shape, np.dtype[np.float32]]:
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


class Recorder:
    """Imitates the real capture: a "graph" is just its shape, and nothing is captured.

    ``captured`` lists the shapes of the graphs. ``beside`` lists, for each graph, the earlier graph
    whose memory it shares, or None.
    """

    def __init__(self) -> None:
        self.captured: list[Shape] = []
        self.beside: list[Shape | None] = []

    def __call__(self, shape: Shape, beside: Shape | None) -> Shape:
        self.captured.append(shape)
        self.beside.append(beside)
        return shape


def test_a_shape_is_captured_when_it_comes_again() -> None:
    graphs, capture = Graphs[Shape](), Recorder()
    found = [graphs.graph_for("stream", shape, capture) for shape in (ONE, OTHER, ONE, ONE, OTHER)]
    assert found == [None, None, ONE, ONE, OTHER]
    assert capture.captured == [ONE, OTHER]
    assert capture.beside == [None, ONE], "graphs of one stream share their memory"


def test_each_stream_has_its_own() -> None:
    graphs, capture = Graphs[Shape](), Recorder()
    for stream in ("one", "other"):
        assert [graphs.graph_for(stream, ONE, capture) for _ in range(3)] == [None, ONE, ONE]
    assert capture.beside == [None, None], "graphs that may run at once share nothing"


def test_the_least_recently_used_goes() -> None:
    graphs, capture = Graphs[Shape](most=2), Recorder()
    for shape in ((1,), (1,), (2,), (2,), (1,), (3,), (3,)):
        graphs.graph_for("stream", shape, capture)
    assert graphs.graph_for("stream", (1,), capture) == (1,)
    assert graphs.graph_for("stream", (2,), capture) is None
    assert capture.captured == [(1,), (2,), (3,)]


def test_more_shapes_than_graphs_do_not_cost_a_capture_each_time() -> None:
    graphs, capture = Graphs[Shape](most=2), Recorder()
    for _ in range(100):
        for number in range(3):
            graphs.graph_for("stream", (number,), capture)
    assert len(capture.captured) < 3 * 7, "each again after 2, 4, 8... of 100"


@pytest.mark.parametrize("error", [RuntimeError("operation not permitted when capturing"), FULL])
def test_outputs_are_right_whether_or_not_it_can_be_captured(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    cuda = OnCpu()
    network = CudaNetwork(doubled, cuda)
    cuda.broken = error
    with caplog.at_level(logging.WARNING):
        for seed in range(6):
            batch = batch_of(ONE, seed)
            np.testing.assert_array_equal(network.infer(batch), batch.sum(axis=1) * 2)
    assert not cuda.captured
    # A capture that failed for lack of memory is tried again once the shape has occurred twice as
    # often. After any other error there is no second attempt.
    assert len(caplog.records) == (2 if error is FULL else 1)
    cuda.broken = None
    for _ in range(10):
        network.infer(batch_of(ONE))
    assert cuda.captured == ([ONE] if error is FULL else []), "else without one for good"


def test_no_memory_hidden_by_the_end_of_the_capture_drops_all_graphs() -> None:
    graphs, capture = Graphs[Shape](), Recorder()

    def fail(shape: Shape, beside: Shape | None) -> Shape:
        try:
            raise FULL
        finally:
            raise torch.AcceleratorError("CUDA error: operation failed in a capture")

    for _ in range(2):
        graphs.graph_for("stream", ONE, capture)
        graphs.graph_for("stream", OTHER, fail)
    assert graphs.graph_for("stream", ONE, capture) is None


def test_two_shapes_in_turn_keep_their_answers() -> None:
    cuda = OnCpu()
    network = CudaNetwork(doubled, cuda)
    batches = [batch_of(shape, seed) for seed in range(4) for shape in (ONE, OTHER)]
    outputs = [network.infer(batch) for batch in batches]
    assert cuda.captured == [ONE, OTHER]
    assert cuda.replayed == [ONE, OTHER] * 3
    for batch, output in zip(batches, outputs, strict=True):
        np.testing.assert_array_equal(output, batch.sum(axis=1) * 2)


def test_no_memory_for_a_batch_gives_up_the_graphs() -> None:
    cuda = OnCpu()
    network = CudaNetwork(doubled, cuda)
    for _ in range(3):
        network.infer(batch_of(ONE))
    cuda.full = FULL
    with pytest.raises(torch.OutOfMemoryError):
        network.infer(batch_of(OTHER))
    network.infer(batch_of(ONE))
    assert cuda.replayed == [ONE, ONE], "the last pass had no graph any more"


def test_a_stream_belongs_to_one_block() -> None:
    streams = Streams(object, 2)
    with streams.borrow() as first:
        pass
    with streams.borrow() as again, streams.borrow() as second:
        assert again is first
        assert second is not first
    inside = threading.Semaphore(0)
    held: list[object] = []

    def use(_: int) -> None:
        with streams.borrow() as stream:
            assert stream not in held
            held.append(stream)
            assert len(held) <= 2
            inside.acquire(timeout=0.001)
            held.remove(stream)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(use, range(50)))


class Anywhere(torch.nn.Module):
    """A network that accepts every device but stays on the CPU."""

    def forward(self, pixels: Tensor) -> Tensor:
        return doubled(pixels)

    def to(self, *_: object, **__: object) -> Anywhere:
        return self


@pytest.mark.parametrize("exact", [False, True])
def test_what_a_network_does_on_cuda(monkeypatch: pytest.MonkeyPatch, exact: bool) -> None:
    networks, images = OnCpu(), OnCpu()
    monkeypatch.setattr(Cuda, "for_networks", lambda _: networks)
    monkeypatch.setattr(Cuda, "for_images", lambda _: images)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda _: None)
    network = TorchNetwork(Anywhere(), "fp32", 1, exact_images=exact)
    network.to_device("cuda")
    network.warm_up(np.zeros(ONE, np.float32))
    assert networks.captured == [ONE], "no client waits for the capture of the usual shape"
    batch = batch_of(ONE)
    np.testing.assert_array_equal(network.infer(batch), batch.sum(axis=1) * 2)

    photo = Image.effect_noise((60, 40), 90).convert("RGB")
    small = (28, 14)
    expected = normalised(photo.resize(small, Image.Resampling.BICUBIC), MEAN, STD)
    images.full = FULL
    # In the first pass the upload fails, so that the CPU takes over. With exact_images nothing is
    # uploaded, because the CPU does all image work.
    for _ in range(2):
        inputs = network.images.prepared(photo, lambda canvas: canvas.resize(small), MEAN, STD)
        np.testing.assert_allclose(inputs, expected, atol=0.02)
    assert (images.full is None) == (not exact)
    assert network.images.spread(batch[0, 0], 30, 20).shape == (20, 30)
