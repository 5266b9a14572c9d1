# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Makes models: which engine runs them, and their networks in host memory."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from app.engines import devices
from app.engines.base import EngineUnavailable, Network
from app.engines.openvino import runner as openvino_engine
from app.engines.openvino.conversions import Conversions
from app.engines.openvino.runner import OpenVinoNetwork
from app.engines.torch.runner import TorchNetwork
from app.host.unchanged import Fingerprint
from app.hub.store import Checkpoint
from app.lending.registry import FAMILIES, model_class
from app.models.base import Model
from config.models import Family, ModelSpec
from config.settings import Settings
from config.values import EngineName, EngineSetting, PrecisionSetting

log = logging.getLogger("twinlens.models")


@dataclass(frozen=True)
class Loader:
    """What the settings say about engines; one for all models."""

    engine: EngineSetting
    precision: PrecisionSetting
    #: DEVICE
    device: str
    #: cores that this process may use, and inferences at a time that share them
    threads: int
    streams: int
    conversions: Conversions
    #: whether image work stays on the CPU also where a GPU could do it
    exact_images: bool = False

    @classmethod
    def from_settings(cls, settings: Settings, threads: int, life: int) -> Self:
        """As the settings want it; for ``threads`` and ``life`` see here and ``Conversions``."""
        engine, device = settings.engine, settings.device
        if device.startswith("openvino"):
            engine = "openvino"
        elif engine == "openvino" and device == "auto":
            device = "cpu"  # its GPUs are taken by name only
        return cls(
            engine,
            settings.precision,
            device,
            threads,
            settings.image_embedder_concurrency,
            # Exact weights only where exact arithmetic was asked for.
            Conversions(half=settings.precision != "fp32", life=life),
            exact_images=settings.exact_decode,
        )

    def suits(self, model: Model, device: str) -> bool:
        """Whether a model in host memory is the right one to bring to a device."""
        network = model.network
        return network.engine == self.engine_on(device) and network.suits(device)

    def gpu_setting(self) -> str:
        """The value of DEVICE that looks for a GPU, for a client that wants one."""
        return "openvino:AUTO" if self.engine == "openvino" else "auto"

    def makes_the_same_as(self, other: Loader) -> bool:
        """Whether models of the other are as good as its own."""
        return replace(other, conversions=self.conversions) == self

    def expected_engine(self) -> EngineName:
        """Before the fork, when no driver may be asked: the engine that will most likely run."""
        if self.device.startswith("openvino"):
            return "openvino"
        return self.engine_on("cpu" if devices.is_surely_cpu(self.device) else "gpu")

    def engine_on(self, device: str) -> EngineName:
        """The engine for a device, a name as in ``Device.type``."""
        if device.startswith("openvino"):
            return "openvino"
        if device != "cpu" or self.engine == "torch":
            return "torch"
        return "openvino" if openvino_engine.is_installed() else "torch"

    def import_engine(self, family: Family) -> None:
        """Before the fork: import the libraries, so that workers share them."""
        if self.expected_engine() == "openvino":
            openvino_engine.core()
        else:
            FAMILIES[family].import_torch()

    def preload(self, spec: ModelSpec, checkpoint: Checkpoint) -> Model | None:
        """Before the fork: its weights in memory that workers share; None: that is not possible
        yet, because it has to be converted first. Raises LoadError.
        """
        family = model_class(spec)
        family.check(spec, checkpoint)
        if self.expected_engine() == "openvino":
            folder = self.conversions.find(family, spec, checkpoint)
            if folder is not None:
                return self._openvino(spec, checkpoint, folder)
            # Where it can never be converted torch will run it, see ``load``.
            if self.engine != "auto" or self.conversions.can_store(checkpoint):
                return None
        model = self._torch(spec, checkpoint)
        if devices.is_surely_cpu(self.device):
            assert isinstance(model.network, TorchNetwork)
            model.network.cast_for_cpu()
        return model

    def load(self, spec: ModelSpec, checkpoint: Checkpoint, device: str) -> Model:
        """In host memory, right for ``device``; converted first where that needs to be.

        Raises:
            LoadError: the message says why.
        """
        family = model_class(spec)
        # Also of a model that was converted before: its description may be another one today.
        family.check(spec, checkpoint)
        if self.engine_on(device) == "openvino":
            try:
                folder = self.conversions.bring(family, spec, checkpoint)
                return self._openvino(spec, checkpoint, folder)
            except EngineUnavailable as error:
                if self.engine != "auto" or device != "cpu":
                    raise
                log.warning("%s: OpenVINO cannot run it here (%s); torch takes it", spec.key, error)
        return self._torch(spec, checkpoint)

    def _openvino(self, spec: ModelSpec, checkpoint: Checkpoint, folder: Path) -> Model:
        files = Fingerprint(sorted(folder.iterdir()))
        network = OpenVinoNetwork(folder, self.precision, self.threads, self.streams)
        return self._model(spec, checkpoint, network, files)

    def _torch(self, spec: ModelSpec, checkpoint: Checkpoint) -> Model:
        family = model_class(spec)
        files = Fingerprint(checkpoint.path / name for name in family.FILES)
        module = family.module(spec, checkpoint)
        network = TorchNetwork(module, self.precision, self.threads, self.exact_images)
        return self._model(spec, checkpoint, network, files)

    @staticmethod
    def _model(
        spec: ModelSpec, checkpoint: Checkpoint, network: Network, files: Fingerprint
    ) -> Model:
        model = model_class(spec)(spec, checkpoint, network)
        model.files = files
        log.info("%s (%s weights) mapped for %s", spec.key, model.weights, network.engine)
        return model
