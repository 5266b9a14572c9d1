# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""A network in memory, with the family that prepares its inputs and reads its outputs."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import count
from typing import Any

from app.engines.base import FloatArray, InputArray, Network
from app.models.base import NetworkId, Provenance


@dataclass(frozen=True, eq=False)
class LoadedNetwork:
    """A loaded network that the manager lends to requests."""

    #: a DepthFamily or an EmbeddingFamily (``app.models``), depending on the task of the model
    family: Any
    id: NetworkId
    network: Network
    #: kind of weights: "published", or what the checkpoint's files say, such as "random"
    weights: str
    #: differs from that of every other network that this process has loaded
    serial: int = field(default_factory=count().__next__, init=False)

    def warm_up(self) -> None:
        """Run it on a blank input, so that page faults and allocations do not delay a request."""
        if self.id.name == "text":
            self.family.load_tokenizer()
        self.network.warm_up(self.family.blank(self.id.name))

    def max_batch(self) -> int:
        """The largest number of inputs that are worth running as one batch on its device."""
        return int(self.family.max_batch(self.id.name, self.network.device))

    def infer(self, batch: InputArray) -> FloatArray:
        """Run the network on a batch, see ``Network.infer``."""
        return self.network.infer(batch)

    def provenance(self) -> Provenance:
        """The checkpoint, engine and precision that make this model's answers.

        They can still change until the network is on its device.
        """
        return Provenance(
            self.family.checkpoint.revision,
            self.network.engine,
            self.network.precision,
            self.family.PREPROCESS_VERSION,
        )
