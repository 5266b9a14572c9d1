# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Defines the reference's networks, which turn an RGB image into a depth map or into a vector."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from transformers import CLIPProcessor, CLIPVisionModelWithProjection, pipeline

from benchmarks.machine import has_bf16


class OneAtATime:
    """Runs one inference at a time, as the replaced services do by means of a lock.

    Here a single lasting thread does the work instead. This favours the reference: a new thread is
    slow at first, and many threads would each start OpenMP threads.
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1)

    def __call__(self, image: Image.Image) -> Any:
        """Wait for a turn, then for the answer."""
        return self._thread.submit(self.work, image).result()

    def work(self, image: Image.Image) -> Any:
        """Turn an RGB image into the answer."""
        raise NotImplementedError


class Depth(OneAtATime):
    """Makes depth maps with transformers' pipeline."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        make: Any = pipeline  # its type hints lack some of the arguments
        self._pipeline = make("depth-estimation", str(folder), device="cpu", dtype=torch.float32)

    def work(self, image: Image.Image) -> Image.Image:
        """Return the map in 8 bits, as large as the image."""
        torch.get_num_threads()  # without it, a new thread's first convolution runs on one core
        map_: Image.Image = self._pipeline(image)["depth"]
        return map_


class Embedding(OneAtATime):
    """Makes vectors with transformers' processor and network."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._processor: Any = CLIPProcessor.from_pretrained(folder)
        network: Any = CLIPVisionModelWithProjection.from_pretrained(folder, dtype=torch.float32)
        self._network = network.eval()

    def work(self, image: Image.Image) -> NDArray[np.float32]:
        """Return the vector [dims], L2-normalised."""
        torch.get_num_threads()  # see Depth.work
        vector = self.infer(self._processor(images=image, return_tensors="pt")["pixel_values"])
        return vector / np.linalg.norm(vector)

    def infer(self, pixels: torch.Tensor) -> NDArray[np.float32]:
        """Turn pixels [1, 3, 224, 224] into a vector [dims]."""
        with torch.inference_mode():
            vector: NDArray[np.float32] = self._network(pixels).image_embeds[0].numpy()
        return vector


class OpenvinoEmbedding(Embedding):
    """Makes vectors with the same network, converted to OpenVINO at the start."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]  # it sends usage data
        import openvino

        converted = openvino.convert_model(
            _OnlyVector(self._network), example_input=torch.zeros(1, 3, 224, 224)
        )
        precision = "bf16" if has_bf16() else "f32"
        hints = {"INFERENCE_PRECISION_HINT": precision, "PERFORMANCE_HINT": "LATENCY"}
        compiled = openvino.Core().compile_model(converted, "CPU", hints)
        self._request = compiled.create_infer_request()
        del self._network

    def infer(self, pixels: torch.Tensor) -> NDArray[np.float32]:
        """Turn pixels [1, 3, 224, 224] into a vector [dims] with OpenVINO."""
        vector: NDArray[np.float32] = self._request.infer(pixels.numpy())[0][0]
        return vector


class OpenClip(OneAtATime):
    """Makes vectors with a model of open_clip and its own way of preparing images, in fp32."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        import open_clip

        made: Any = open_clip.create_model_from_pretrained(f"local-dir:{folder}")
        self._network, self._prepare = made
        self._network.eval()

    def work(self, image: Image.Image) -> NDArray[np.float32]:
        """Return the vector [dims], L2-normalised."""
        torch.get_num_threads()  # see Depth.work
        with torch.inference_mode():
            vectors = self._network.encode_image(self._prepare(image)[None], normalize=True)
        vector: NDArray[np.float32] = vectors[0].numpy()
        return vector


class _OnlyVector(torch.nn.Module):
    """Returns the vector as its only output, as the conversion needs it."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self._network = network

    def forward(self, pixels: torch.Tensor) -> Any:
        """Turn pixels [n, 3, 224, 224] into vectors [n, dims]."""
        return self._network(pixels).image_embeds
