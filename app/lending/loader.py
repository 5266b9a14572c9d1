# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Loads networks into host memory, and chooses the engine that runs them."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any, Self

from app.engines import devices
from app.engines.base import Engine, EngineUnavailable, Network
from app.engines.openvino.conversions import Conversions
from app.engines.openvino.engine import OpenVinoEngine
from app.engines.openvino.runner import is_installed
from app.engines.torch.engine import TorchEngine
from app.hub.store import Checkpoint
from app.lending.loaded import LoadedNetwork
from app.models.base import NetworkId, describe_checkpoint
from config.families import family_class
from config.settings import Settings
from config.values import EngineName, EngineSetting, FloatSetting, PrecisionSetting

log = logging.getLogger("twinlens.models")


@dataclass(frozen=True)
class Loader:
    """The engines, configured by the settings; all models share one loader."""

    #: the setting ENGINE
    engine: EngineSetting
    #: the setting DEVICE
    device: str
    #: the setting PRECISION
    precision: PrecisionSetting
    openvino: OpenVinoEngine
    torch: TorchEngine

    @classmethod
    def make(
        cls,
        engine: EngineSetting,
        precision: PrecisionSetting,
        device: str,
        *,
        threads: int,
        life: int,
        streams: int = 1,
        exact_images: bool = False,
    ) -> Self:
        """Make a loader with its engines.

        Args:
            engine: the setting ENGINE.
            precision: the setting PRECISION.
            device: the setting DEVICE.
            threads: number of cores that this process may use.
            life: see ``Conversions``.
            streams: number of simultaneous inferences that share those cores.
            exact_images: whether image work stays on the CPU even where a GPU could do it.
        """
        if device.startswith("openvino"):
            engine = "openvino"
        elif engine == "openvino" and device == "auto":
            device = "cpu"  # OpenVINO uses a GPU only where DEVICE names it
        # Converted weights are stored in half precision unless PRECISION asks for exact results.
        conversions = Conversions(half=precision != "fp32", life=life)
        int8 = Conversions(half=True, life=life, int8=True) if precision == "int8" else None
        # What cannot be computed in int8 is computed as with "auto".
        floating: FloatSetting = "auto" if precision == "int8" else precision
        return cls(
            engine,
            device,
            precision,
            OpenVinoEngine(floating, threads, streams, conversions, int8),
            TorchEngine(floating, device, threads, exact_images),
        )

    @classmethod
    def from_settings(cls, settings: Settings, threads: int, life: int) -> Self:
        """Make a loader from the settings; for ``threads`` and ``life`` see ``make``."""
        return cls.make(
            settings.engine,
            settings.precision,
            settings.device,
            threads=threads,
            life=life,
            streams=settings.image_embedder_concurrency,
            exact_images=settings.exact_decode,
        )

    def suits(self, network: Network, device: str) -> bool:
        """Whether a network in host memory has the right engine and format for a device."""
        return network.engine == self.engine_on(device) and network.suits(device)

    def gpu_setting(self) -> str:
        """The value of DEVICE that selects a GPU, for a client that asks for one."""
        return "openvino:AUTO" if self.engine == "openvino" else "auto"

    def expected_engine(self) -> EngineName:
        """The engine that will probably run, found without asking a GPU driver.

        Before the fork this replaces ``engine_on``, because drivers must not be asked then.
        """
        if self.device.startswith("openvino"):
            return "openvino"
        return self.engine_on("cpu" if devices.is_surely_cpu(self.device) else "gpu")

    def engine_on(self, device: str) -> EngineName:
        """The engine for a device, which is named as in ``Device.type``."""
        if device.startswith("openvino"):
            return "openvino"
        if device != "cpu" or self.engine == "torch":
            return "torch"
        return "openvino" if is_installed() else "torch"

    def import_libraries(self, families: list[str]) -> None:
        """Import the libraries of the engine and of these families before the fork.

        The workers then share the memory of the libraries.
        """
        engine = self._engine(self.expected_engine())
        engine.import_libraries()
        for family in families if engine is self.torch else ():
            family_class(family).import_libraries()

    def preload(self, id: NetworkId, checkpoint: Checkpoint) -> LoadedNetwork | None:
        """Load a network before the fork, into memory that the workers will share.

        Returns:
            None if the network has to be converted first, which cannot be done before the fork.

        Raises:
            LoadError: it cannot be loaded; the message gives the reason.
        """
        family = describe_checkpoint(id.spec, checkpoint)
        source = family.source(id.name)
        network: Network | None
        if self.expected_engine() == "openvino":
            network = self.openvino.preload(source)
            # If it cannot be converted at all, torch will run it (see ``load``) and preloads it.
            if network is None and (
                self.engine != "auto" or self.openvino.conversions.can_store(source)
            ):
                return None
        else:
            network = None
        return self._loaded(family, id, network or self.torch.preload(source))

    def load(self, id: NetworkId, checkpoint: Checkpoint, device: str) -> LoadedNetwork:
        """Load a network into host memory, in the format for a device; converts it if necessary.

        Raises:
            LoadError: it cannot be loaded; the message gives the reason.
        """
        family = describe_checkpoint(id.spec, checkpoint)
        source = family.source(id.name)
        engine = self._engine(self.engine_on(device))
        try:
            network = engine.load(source, device)
        except EngineUnavailable as error:
            if engine is self.torch or self.engine != "auto" or device != "cpu":
                raise
            log.warning("%s: OpenVINO cannot run it here (%s); torch runs it", id.label, error)
            network = self.torch.load(source, device)
        return self._loaded(family, id, network)

    def size(self, id: NetworkId, checkpoint: Checkpoint) -> int:
        """Bytes of memory that the weights of a network need. Raises LoadError."""
        family = describe_checkpoint(id.spec, checkpoint)
        return int(family.source(id.name).size)

    def _engine(self, name: EngineName) -> Engine:
        return {"openvino": self.openvino, "torch": self.torch}[name]

    def _loaded(self, family: Any, id: NetworkId, network: Network) -> LoadedNetwork:
        if network.engine == "torch" and self.precision == "int8":
            log.warning("PRECISION=int8, but torch runs %s, which does not have it", id.label)
        loaded = LoadedNetwork(family, id, network, family.weights())
        log.info("%s (%s weights) mapped for %s", id.label, loaded.weights, network.engine)
        return loaded
