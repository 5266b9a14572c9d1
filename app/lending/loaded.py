# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""A network in memory, with the family that knows what to do around it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from app.engines.base import FloatArray, InputArray, Network
from app.models.base import NetworkId, Provenance


@dataclass(frozen=True, eq=False)
class LoadedNetwork:
    """What is lent to requests."""

    #: of one task, which the borrower knows from the row: see ``app.models.base``
    family: Any
    id: NetworkId
    network: Network
    #: "published", or what the checkpoint says of itself, such as "random"
    weights: str

    def warm_up(self) -> None:
        """Run it on a blank input: page faults and allocations happen here."""
        if self.id.name == "text":
            self.family.load_tokenizer()
        self.network.warm_up(self.family.blank(self.id.name))

    def max_batch(self) -> int:
        """How many inputs of one shape are worth running as one batch on its device."""
        return int(self.family.max_batch(self.id.name, self.network.device))

    def infer(self, batch: InputArray) -> FloatArray:
        """Run it, see ``Network.infer``."""
        return self.network.infer(batch)

    def provenance(self) -> Provenance:
        """What its answers are made with; final once it is on its device."""
        return Provenance(
            self.family.checkpoint.revision,
            self.network.engine,
            self.network.precision,
            self.family.PREPROCESS_VERSION,
        )
