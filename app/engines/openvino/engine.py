# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""The engine "openvino": runs networks that were converted for OpenVINO and stored on disk."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from app.engines.base import Engine, NetworkSource
from app.engines.openvino import runner
from app.engines.openvino.conversions import Conversions
from app.engines.openvino.runner import OpenVinoNetwork
from app.host.unchanged import Fingerprint
from config.values import PrecisionSetting


@dataclass(frozen=True)
class OpenVinoEngine(Engine):
    """Loads converted networks. One instance is created before the fork and used by all workers."""

    name = "openvino"

    precision: PrecisionSetting
    #: number of cores that this process may use
    threads: int
    #: number of concurrent inferences, which share those cores
    streams: int
    conversions: Conversions = field(compare=False)

    def import_libraries(self) -> None:
        """See the base class."""
        runner.core()

    def preload(self, source: NetworkSource) -> OpenVinoNetwork | None:
        """See the base class; None if the network has to be converted first."""
        folder = self.conversions.find_converted(source)
        return None if folder is None else self._network(folder)

    def load(self, source: NetworkSource, device: str) -> OpenVinoNetwork:  # noqa: ARG002
        """See the base class; converts the network first if need be."""
        return self._network(self.conversions.ensure(source))

    def _network(self, folder: Path) -> OpenVinoNetwork:
        files = Fingerprint(sorted(folder.iterdir()))
        network = OpenVinoNetwork(folder, self.precision, self.threads, self.streams)
        network.files = files
        return network
