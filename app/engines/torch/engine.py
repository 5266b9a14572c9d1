# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""The engine "torch": runs a checkpoint's network with PyTorch, without a conversion."""

from __future__ import annotations

from dataclasses import dataclass

from app.engines import devices
from app.engines.base import Engine, NetworkSource
from app.engines.torch.runner import TorchNetwork
from app.host.unchanged import Fingerprint
from config.values import FloatSetting


@dataclass(frozen=True)
class TorchEngine(Engine):
    """Loads torch modules. One instance is created before the fork and used by all workers."""

    name = "torch"

    precision: FloatSetting
    #: the setting DEVICE
    device: str
    #: number of cores that this process may use
    threads: int
    #: do image work on the CPU even for a GPU, because the CPU's results are the reference
    exact_images: bool = False

    def import_libraries(self) -> None:
        """See the base class."""
        import torch  # noqa: F401

    def preload(self, source: NetworkSource) -> TorchNetwork:
        """See the base class."""
        network = self.load(source, "cpu")
        if devices.is_surely_cpu(self.device):
            network.cast_for_cpu()
        return network

    def load(self, source: NetworkSource, device: str) -> TorchNetwork:  # noqa: ARG002
        """See the base class."""
        files = Fingerprint(source.files)
        network = TorchNetwork(source.module(), self.precision, self.threads, self.exact_images)
        network.files = files
        return network
