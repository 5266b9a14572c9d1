# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""The engine "openvino": runs networks that were converted for OpenVINO and stored on disk."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from pathlib import Path

from app.engines.base import Engine, EngineUnavailable, NetworkSource
from app.engines.openvino import int8, runner
from app.engines.openvino.conversions import Conversions
from app.engines.openvino.runner import OpenVinoNetwork
from app.host.unchanged import Fingerprint
from config.values import FloatSetting

log = logging.getLogger("twinlens.models")


@dataclass(frozen=True)
class OpenVinoEngine(Engine):
    """Loads converted networks. One instance is created before the fork and used by all workers."""

    name = "openvino"

    precision: FloatSetting
    #: number of cores that this process may use
    threads: int
    #: number of concurrent inferences, which share those cores
    streams: int
    conversions: Conversions = field(compare=False)
    #: those with int8 weights; None unless PRECISION asks for them
    int8_conversions: Conversions | None = field(compare=False, default=None)

    def import_libraries(self) -> None:
        """See the base class."""
        runner.core()
        if self.int8_conversions is not None:
            int8.is_supported()  # logs the reason at the start if not

    def preload(self, source: NetworkSource) -> OpenVinoNetwork | None:
        """See the base class; None if the network has to be converted first."""
        eight = self._int8_on("cpu")
        folder = (eight or self.conversions).find_converted(source)
        return None if folder is None else self._network(folder, eight is not None)

    def load(self, source: NetworkSource, device: str) -> OpenVinoNetwork:
        """See the base class; converts the network first if need be."""
        eight = self._int8_on(device)
        if eight is not None:
            try:
                return self._network(eight.ensure(source), True)
            except EngineUnavailable as error:
                log.warning("%s cannot have int8 weights (%s)", source.label, error)
        return self._network(self.conversions.ensure(source), False)

    def _int8_on(self, device: str) -> Conversions | None:
        """The conversions with int8 weights if they are wanted and the device can run them."""
        if (
            self.int8_conversions is None
            or runner.openvino_name(device) != "CPU"
            or not int8.is_supported()
        ):
            return None
        return self.int8_conversions

    def _network(self, folder: Path, has_int8: bool) -> OpenVinoNetwork:
        files = Fingerprint(sorted(folder.iterdir()))
        network = OpenVinoNetwork(
            folder, self.precision, self.threads, self.streams, has_int8=has_int8
        )
        network.files = files
        return network
