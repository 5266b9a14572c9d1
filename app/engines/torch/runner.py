# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Runs networks with PyTorch, on GPUs and on CPUs without OpenVINO."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING, Any

from app.engines.base import FloatArray, InputArray, Network
from app.engines.torch.cuda_graphs import WORTH_AT, CudaNetwork
from app.host.cuda import Cuda
from app.pictures.device_images import DeviceImages
from config.values import FloatName, FloatSetting, Precision

if TYPE_CHECKING:
    from torch import Tensor

log = logging.getLogger("twinlens.engines")

# Largest relative error of a matrix product that still counts as fp32.
_EXACT = 1e-5
_PROBE_EDGE = 512


class TorchNetwork(Network):
    """A torch module in evaluation mode."""

    engine = "torch"

    def __init__(
        self, module: Any, wanted: FloatSetting, threads: int, exact_images: bool = False
    ) -> None:
        """Wrap a module.

        Args:
            module: a float32 module, whose weights are usually mapped from the checkpoint's file.
            wanted: the setting PRECISION.
            threads: number of cores that this process may use.
            exact_images: do image work on the CPU even for a GPU, because the CPU's results are
                the reference.
        """
        super().__init__()
        self._module = module
        self._wanted = wanted
        self._threads = threads
        self._exact_images = exact_images
        self._is_cast = False
        self._cuda: CudaNetwork | None = None

    def cast_for_cpu(self) -> None:
        """Cast the weights to the CPU's precision; called before the fork to save memory.

        Casting copies the mapped weights into private memory. A copy made before the fork is
        shared by all workers; afterwards each worker would make its own.
        """
        self._cast("cpu")

    def suits(self, device: str) -> bool:
        """See the base class; weights that were rounded for a CPU must not go to other devices."""
        return device == "cpu" or not self._is_cast

    def to_device(self, device: str) -> None:
        """See the base class."""
        import torch

        if device == "cpu":
            # Workers inherit the limit of one thread that gunicorn.conf.py sets for the master.
            torch.set_num_threads(self._threads)
        self._cast(device)
        self._module = self._module.to(device)
        self.device = device
        if device != "cpu":
            torch.set_float32_matmul_precision("highest")  # lower settings allow TF32 on GPUs
            if device.startswith("cuda"):
                self._run_on_cuda(device)
        elif self.precision == "fp32":
            _choose_fp32_matmul()

    def infer(self, batch: InputArray) -> FloatArray:
        """See the base class."""
        import torch

        # Without this call a new thread would run its first convolution on one core.
        torch.get_num_threads()
        with torch.inference_mode():
            if self._cuda is not None:
                return self._cuda.infer(batch)
            inputs = torch.from_numpy(batch).to(self.device)
            outputs: FloatArray = _forward(self._module, self.precision, inputs).cpu().numpy()
        return outputs

    def warm_up(self, batch: InputArray) -> None:
        """See the base class."""
        for _ in range(WORTH_AT if self._cuda is not None else 1):
            self.infer(batch)

    def _run_on_cuda(self, device: str) -> None:
        import torch

        # Waits until the weights are copied: other streams do not wait for that by themselves.
        torch.cuda.synchronize(device)
        forward = partial(_forward, self._module, self.precision)
        self._cuda = CudaNetwork(forward, Cuda.for_networks(device))
        if not self._exact_images:
            self.images = DeviceImages(Cuda.for_images(device))

    def _cast(self, device: str) -> None:
        import torch

        if self._is_cast:
            return
        self.precision = precision_for(device) if self._wanted == "auto" else self._wanted
        if self.precision != "fp32":
            self._is_cast = True
            # Convolutions of reduced precision are fastest in the channels_last memory format.
            self._module = self._module.to(
                _dtype(self.precision), memory_format=torch.channels_last
            )


def precision_for(device: str) -> FloatName:
    """The fastest precision that the hardware supports natively.

    For a GPU it must be called after the fork, because it asks the driver. GPUs get fp16, which is
    as fast as bf16 and has three more bits of precision.
    """
    import torch

    if device == "cpu":
        has = torch.cpu.get_capabilities()
        return "bf16" if any(has.get(name) for name in ("avx512_bf16", "amx_bf16")) else "fp32"
    if device.startswith("cuda"):
        # GPUs below compute capability 7.0 have no tensor cores, so fp16 is not faster on them.
        return "fp16" if torch.cuda.get_device_capability(device) >= (7, 0) else "fp32"
    return "fp16" if device.startswith("xpu") else "fp32"


def _forward(module: Any, precision: Precision, inputs: Tensor) -> Tensor:
    """The forward pass on the device, from float32 or int64 inputs to float32 outputs."""
    import torch

    if inputs.is_floating_point() and precision != "fp32":  # pictures
        inputs = inputs.to(_dtype(precision), memory_format=torch.channels_last)
    outputs: Tensor = module(inputs).float()
    return outputs


def _dtype(precision: Precision) -> Any:
    import torch

    return {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]


def _choose_fp32_matmul() -> None:
    """Use oneDNN's matrix multiplication instead of MKL's if it is exact on this CPU.

    ``torch.set_float32_matmul_precision("medium")`` selects oneDNN, which is much faster than MKL
    on AMD. On CPUs with AMX it may round the operands to bf16, so a test product is compared with
    the exact one.
    """
    import torch

    generator = torch.Generator().manual_seed(0)
    one, other = torch.randn(2, _PROBE_EDGE, _PROBE_EDGE, generator=generator)
    torch.set_float32_matmul_precision("highest")
    exact = one @ other
    torch.set_float32_matmul_precision("medium")
    error = float((one @ other - exact).norm() / exact.norm())
    if error > _EXACT:
        torch.set_float32_matmul_precision("highest")
    log.debug("fp32 GEMM 'medium' has a relative error of %.1e", error)
